"""The provider of our own contestants: that of a set-up, as a service has it."""

from __future__ import annotations

import os

from obs_core import TracingConfig, setup_tracing
from opentelemetry import trace
from opentelemetry.trace import TracerProvider


def our_provider(rate: float) -> TracerProvider:
    """Set obs-core up, correlation ids included, to sample `rate`; nothing is exported, as with the others.

    A process has a single set-up: a second call changes the rate of the first.
    """
    os.environ["OTEL_TRACES_EXPORTER"] = "none"
    config = TracingConfig(service_name="benchmark", sampling_rate=rate)
    setup_tracing(config, replace=True)
    return trace.get_tracer_provider()
