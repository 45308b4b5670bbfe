"""The conventions that contrib's instrumentations write, chosen anew: contrib reads the variable once a process."""

from __future__ import annotations

import pytest
from opentelemetry.instrumentation._semconv import (
    _OpenTelemetrySemanticConventionStability as Contrib,
)


def opt_in(patch: pytest.MonkeyPatch, value: str = "") -> None:
    """Set ``OTEL_SEMCONV_STABILITY_OPT_IN`` to `value`, for contrib as well; by default to contrib's own default."""
    patch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", value)
    patch.setattr(Contrib, "_initialized", False)
    patch.setattr(Contrib, "_OTEL_SEMCONV_STABILITY_SIGNAL_MAPPING", {})
