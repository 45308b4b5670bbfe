"""Tracers that make light spans, for all libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
)
from opentelemetry.util.types import Attributes

from obs_core._export.keeper import Keeper
from obs_core._provider.joining import JoiningTracer, joins
from obs_core._provider.sampling import SwitchableSampler
from obs_core._provider.unsampled import unsampled_below
from obs_core._spans.current import CurrentSpan
from obs_core._spans.layout import unknown_layout, unknown_tracer
from obs_core._spans.light import LightSpan, new_span
from obs_core._spans.origin import SpanOrigin
from obs_core._spans.recorded import RecordedSpan
from obs_core._spans.runtime_context import get_current
from obs_core._spans.tracer import SPAN_KEY

_SAMPLED, _RANDOM, _MAX_SPAN_ID = 1, 2, (1 << 64) - 1
_FLAGS = tuple(TraceFlags(bits) for bits in range(4))
_KNOWS_RANDOM_IDS = hasattr(IdGenerator, "is_trace_id_random")
_KEPT_FLAGS = _SAMPLED | _RANDOM if _KNOWS_RANDOM_IDS else _SAMPLED
_OURS = frozenset({LightSpan, RecordedSpan})
_NONE: Mapping[str, Any] = {}


class SpansInForce:
    """The kind of spans that tracers make.

    Attributes:
        is_light: Light spans; else the SDK's.
        reason: Why spans cannot be light, or None.
        keeper: Makes the spans of unsampled requests that may be kept; None: such spans do not record.
        follow_unsampled: Whether the sampler is known to keep the decision of an unsampled parent.
    """

    __slots__ = ("follow_unsampled", "is_light", "keeper", "reason")

    def __init__(self, reason: str | None) -> None:
        self.reason: str | None = reason
        self.keeper: Keeper | None = None
        self.follow_unsampled: bool = True
        self.choose("light")

    def choose(self, kind: str) -> None:
        """Make ``light`` or ``sdk`` spans."""
        self.is_light: bool = kind == "light" and self.reason is None

    def give_up(self, reason: str) -> None:
        """Make the SDK's spans from now on."""
        self.is_light, self.reason = False, reason


class LightTracer(Tracer):
    """The SDK's tracer, with light spans, and no new spans below a local unsampled span."""

    _spans: SpansInForce
    _shared: SpanOrigin | None = None
    _tracer_config: Any = None  # unknown to 1.38 and earlier

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """Start a span like the SDK."""
        above: Any = (get_current() if context is None else context).get(SPAN_KEY)
        if type(above) is NonRecordingSpan and self._spans.follow_unsampled:
            below = unsampled_below(above, kind, self.id_generator)
            if below is not None:
                return below
        config, sampler = self._tracer_config, self.sampler
        if not (self._spans.is_light and (config is None or config.is_enabled)):
            return super().start_span(
                *(name, context, kind, attributes, links),
                *(start_time, record_exception, set_status_on_exception),
            )
        is_ours = type(above) in _OURS and above._context[5]
        parent = above._context if is_ours else context_of(above)
        kept: Attributes = _NONE if attributes is None else attributes
        if (
            (parent is not None and parent[3] & _SAMPLED)
            and type(sampler) is SwitchableSampler
            and sampler.bound is not None
        ):
            # below a sampled span, this sampler samples every span
            own = self._ids_below(parent)
        elif parent is not None and type(above) is RecordedSpan:
            own, kept = self._ids_below(parent), None
        else:
            own, kept = self._decide(
                parent, context, name, kind, attributes, links or ()
            )
        span: LightSpan
        if kept is not None:
            span = new_span(self._origin(), name, own, parent, kind, kept, start_time)
        elif (keeper := self._spans.keeper) is not None:
            origin = self._origin()
            span = keeper.new_span(
                above, origin, name, own, parent, kind, attributes, start_time
            )
        else:
            return NonRecordingSpan(own)
        if links:
            span._links = span._new_links(links)
        if not (record_exception and set_status_on_exception):
            span._record_exception = record_exception
            span._set_status_on_exception = set_status_on_exception
        self.span_processor.on_start(span, parent_context=context)
        return span

    def start_as_current_span(  # type: ignore[override] # the SDK's is a generator
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        """Start a span, current in a block or in each call of a decorated function."""
        start = (name, context, kind, attributes, links, start_time)
        return CurrentSpan(
            self, (*start, record_exception, set_status_on_exception), end_on_exit
        )

    def _ids_below(self, parent: SpanContext) -> SpanContext:
        """Return the ids of a span below `parent`, with the parent's decision."""
        trace_id, flags, state = parent[0], _FLAGS[parent[3] & _KEPT_FLAGS], parent[4]
        span_id = self.id_generator.generate_span_id()
        if 0 < span_id <= _MAX_SPAN_ID:
            # the constructor costs four times as much
            return tuple.__new__(
                SpanContext, (trace_id, span_id, False, flags, state, True)
            )
        return SpanContext(trace_id, span_id, False, flags, state)

    def _origin(self) -> SpanOrigin:
        shared = self._shared
        if (
            shared is None
            or shared.resource is not self.resource
            or shared.processor is not self.span_processor
        ):
            shared = self._shared = SpanOrigin(
                self.resource,
                self._instrumentation_scope,
                self.instrumentation_info,
                self._span_limits,
                self.span_processor,
            )
        return shared

    def _decide(
        self,
        parent: SpanContext | None,
        context: Context | None,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link],
    ) -> tuple[SpanContext, Attributes]:
        """Return the new span's ids and attributes; without attributes, the span does not record."""
        trace_id = (
            self.id_generator.generate_trace_id() if parent is None else parent.trace_id
        )
        sampler = self.sampler
        if type(sampler) is SwitchableSampler and sampler.bound is not None:
            is_sampled = is_recording = sampler.samples(sampler.bound, trace_id, parent)
            state = None if parent is None else parent.trace_state
        else:
            result = sampler.should_sample(
                context, trace_id, name, kind, attributes, links
            )
            is_sampled = result.decision is Decision.RECORD_AND_SAMPLE
            is_recording = is_sampled or result.decision is Decision.RECORD_ONLY
            attributes, state = result.attributes, result.trace_state
        own = self.new_ids(parent, trace_id, is_sampled=is_sampled, state=state)
        if not is_recording:
            return own, None
        return own, attributes or _NONE

    @property
    def keeps_unsampled(self) -> bool:
        """Whether spans of unsampled requests record, since the request may be kept."""
        return self._spans.keeper is not None

    def new_ids(
        self,
        parent: SpanContext | None,
        trace_id: int,
        *,
        is_sampled: bool,
        state: TraceState | None,
    ) -> SpanContext:
        """Return the ids of a new span of the trace `trace_id`."""
        bits = _SAMPLED * is_sampled | _RANDOM * self._is_random(parent)
        span_id = self.id_generator.generate_span_id()
        return SpanContext(trace_id, span_id, False, _FLAGS[bits], state)

    def _is_random(self, parent: SpanContext | None) -> bool:
        """Whether the trace id is random, as far as the SDK in use can tell."""
        if not _KNOWS_RANDOM_IDS:
            return False
        if parent is None:
            return bool(self.id_generator.is_trace_id_random())
        return parent.trace_flags & _RANDOM == _RANDOM


def context_of(span: object) -> SpanContext | None:
    """Return the ids of the span above, if valid; raises as the SDK does where these are no ids, unlike `ids_of`."""
    if type(span) is LightSpan or type(span) is RecordedSpan:
        found: SpanContext | None = span._context
    elif type(span) is NonRecordingSpan or isinstance(span, Span):
        found = span.get_span_context()
    else:
        return None
    if found is not None and not isinstance(found, SpanContext):
        raise TypeError("parent_span_context must be a SpanContext or None.")
    if found is None or not found[5]:
        return None
    return found


class LightProvider(TracerProvider):
    """The SDK's provider, with light tracers.

    Attributes:
        spans: The kind of spans that the tracers make.
    """

    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **options)
        self.spans: SpansInForce = SpansInForce(unknown_layout())

    def get_tracer(self, *args: Any, **options: Any) -> trace.Tracer:
        """Return the SDK's tracer for this scope, made light."""
        tracer = super().get_tracer(*args, **options)
        if type(tracer) is Tracer and self._is_known(tracer):
            # a wrapper would hide what the SDK keeps up to date in its own (resource, configuration)
            vars(tracer)["_spans"] = self.spans
            tracer.__class__ = LightTracer
        if isinstance(tracer, Tracer) and joins(tracer._instrumentation_scope.name):
            return JoiningTracer(tracer, tracer._instrumentation_scope)
        return tracer

    def _is_known(self, tracer: Tracer) -> bool:
        reason = unknown_tracer(tracer)
        if reason is not None:
            self.spans.give_up(reason)
        return reason is None
