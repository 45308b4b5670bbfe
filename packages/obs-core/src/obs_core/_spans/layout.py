"""Check that the SDK's spans and tracers are laid out as light spans expect."""

from __future__ import annotations

from functools import lru_cache

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Tracer, _Span
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    SpanContext,
    TraceFlags,
    TraceState,
)

from obs_core._spans.light import LightSpan

_TRACER = {
    *("sampler", "resource", "span_processor", "id_generator", "instrumentation_info"),
    *("_span_limits", "_instrumentation_scope", "_tracer_config", "_tracer_metrics"),
    "_spans",  # set by another thread that makes the very same tracer light
}


@lru_cache(maxsize=1)
def unknown_layout() -> str | None:
    """Return why spans cannot be light with the SDK in use; None if spans can.

    A span of the SDK must have no attribute that a light span lacks: a later SDK may add behaviour that is not known here.
    """
    span = _Span("", INVALID_SPAN_CONTEXT, resource=Resource({}))
    missing = sorted(name for name in vars(span) if not hasattr(LightSpan, name))
    if missing:
        return f"the SDK's span has {missing[0]}, which is not known"
    if not {"_dict", "dropped"} <= vars(BoundedAttributes()).keys():
        return "the SDK's attributes are not laid out as known"
    flags, state = TraceFlags(1), TraceState()
    if tuple(SpanContext(1, 2, False, flags, state)) != (
        1,
        2,
        False,
        flags,
        state,
        True,
    ):
        return "the API's span context is not laid out as known"
    return None


def unknown_tracer(tracer: Tracer) -> str | None:
    """Return why `tracer` must make the SDK's spans, or None."""
    if unknown := sorted(vars(tracer).keys() - _TRACER):
        return f"the SDK's tracer has {unknown[0]}, which is not known"
    metrics = getattr(tracer, "_tracer_metrics", None)
    if metrics is not None and type(metrics).__name__ != "NoOpTracerMetrics":
        return "the SDK's own metrics are on"
    return None
