"""Decide that a request is not sampled before a library that traces itself makes its spans."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Tracer

from obs_core._provider.sampling import MAX_LOW_BITS, SwitchableSampler
from obs_core._provider.tracers import LightTracer, context_of
from obs_core._spans.ids import ContextIdGenerator, use_next_trace_id
from obs_core._spans.in_context import context_with
from obs_core._spans.tracer import SPAN_KEY


def unsampled_context(tracer: Tracer, caller: Context) -> Context | None:
    """Return the context of a request that is not sampled; None: it may be sampled, and the spans decide as ever.

    Asks no sampler but that of a set-up, which decides by ratio and parent alone, and keeps out where unsampled requests are
    recorded (`Keep`). The decision is made once: without a
    parent in `caller`, the next root span of this context has the trace id that it was made for.

    Args:
        tracer: A tracer of the provider that the library uses.
        caller: The remote context of the request.
    """
    light = getattr(tracer, "_tracer", tracer)  # the API's tracer ahead of a set-up
    if type(light) is not LightTracer or light.keeps_unsampled:
        return None
    sampler, ids = light.sampler, light.id_generator
    if type(sampler) is not SwitchableSampler or type(ids) is not ContextIdGenerator:
        return None
    parent = context_of(caller.get(SPAN_KEY))
    if sampler.bound is None or (parent is None and sampler.bound > MAX_LOW_BITS):
        return None  # to be asked, or it samples every trace
    trace_id = ids.generate_trace_id() if parent is None else parent.trace_id
    if sampler.samples(sampler.bound, trace_id, parent):
        use_next_trace_id(trace_id if parent is None else None)
        return None
    state = None if parent is None else parent.trace_state
    own = light.new_ids(parent, trace_id, is_sampled=False, state=state)
    return context_with(NonRecordingSpan(own), caller)
