"""Checks of the options of both sides."""

from __future__ import annotations

from collections.abc import Sequence

from obs_core import CorrelationConfig
from obs_core.integration import check_names, option_error


def check_common(redact: Sequence[str], correlation: CorrelationConfig | None) -> None:
    """Raise `ConfigurationError` unless the options that clients and servers share are of the right kind."""
    check_names("redact", redact, example="*ssn*")
    if not isinstance(correlation, CorrelationConfig | None):
        raise option_error(
            "correlation", correlation, "give a CorrelationConfig, or leave it out"
        )
