"""Tracing, under the names of 1.0."""

from distributed_observability.tracing.decorators import (
    add_span_attributes,
    trace_function,
)
from distributed_observability.tracing.tracer import (
    TracingConfig,
    TracingManager,
    setup_tracing,
)

__all__ = [
    "TracingConfig",
    "TracingManager",
    "add_span_attributes",
    "setup_tracing",
    "trace_function",
]
