"""The TracerProvider of a set-up: the SDK's own, with a sampler and a pipeline that a later set-up can replace in place.

OpenTelemetry lets the global provider be set once, and tracers keep the provider that made them; so a second set-up does
not bring a second provider, it changes what the first one does.
"""

from __future__ import annotations

# The SDK's provider starts a ThreadPoolExecutor in each forked child (1.43 and later). The executor's module must be the first
# of the two to watch forks: else the child waits for ever for a lock that this module is yet to reset.
import concurrent.futures.thread  # noqa: F401
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from obs_core._errors import log_failure
from obs_core._ids import ContextIdGenerator
from obs_core._resource import ProcessResource


class SwitchableSampler(Sampler):
    """Asks the sampler of the set-up in force."""

    def __init__(self, inner: Sampler) -> None:
        self.inner = inner

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Return the inner sampler's answer."""
        return self.inner.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self) -> str:
        """Describe the sampler in force."""
        return self.inner.get_description()


class Pipeline(SynchronousMultiSpanProcessor):
    """The span processors in force; one that raises is logged and passed over, never felt by the traced code.

    The tuple is replaced as a whole, so no lock is needed to read it.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # untyped in the SDK
        self.processors: tuple[SpanProcessor, ...] = ()

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Append a processor."""
        with self._lock:
            self.processors += (span_processor,)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Forward, contained."""
        for processor in self.processors:
            try:
                processor.on_start(span, parent_context)
            except Exception:  # noqa: BLE001 - a user's processor may raise anything
                log_failure(f"{type(processor).__name__}.on_start")

    def _on_ending(self, span: Span) -> None:
        for processor in self.processors:
            try:
                processor._on_ending(span)
            except Exception:  # noqa: BLE001 - a user's processor may raise anything
                log_failure(f"{type(processor).__name__}._on_ending")

    def on_end(self, span: ReadableSpan) -> None:
        """Forward, contained."""
        for processor in self.processors:
            try:
                processor.on_end(span)
            except Exception:  # noqa: BLE001 - a user's processor may raise anything
                log_failure(f"{type(processor).__name__}.on_end")

    def shutdown(self) -> None:
        """Shut every processor down, the failing ones logged."""
        for processor in self.processors:
            try:
                processor.shutdown()
            except Exception:  # noqa: BLE001 - a user's processor may raise anything
                log_failure(f"{type(processor).__name__}.shutdown")

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush every processor; True when all of them say so."""
        answers = [self._flush(processor, timeout_millis) for processor in self.processors]
        return all(answers)

    def _flush(self, processor: SpanProcessor, timeout_millis: int) -> bool:
        try:
            return processor.force_flush(timeout_millis) is not False
        except Exception:  # noqa: BLE001 - a user's processor may raise anything
            log_failure(f"{type(processor).__name__}.force_flush")
            return False


class SwitchableProvider:
    """An SDK TracerProvider together with the parts of it that can be changed later."""

    def __init__(self, resource: ProcessResource) -> None:
        self.pipeline: Pipeline = Pipeline()
        self.sampler: SwitchableSampler = SwitchableSampler(ALWAYS_OFF)
        self.provider: TracerProvider = TracerProvider(
            sampler=self.sampler,
            resource=resource,
            shutdown_on_exit=False,
            active_span_processor=self.pipeline,
            id_generator=ContextIdGenerator(),
        )

    @property
    def resource(self) -> ProcessResource:
        """The resource of the spans made from now on."""
        resource = self.provider.resource
        assert isinstance(resource, ProcessResource)
        return resource

    def switch(self, sampling_rate: float, processors: Sequence[SpanProcessor]) -> None:
        """Put a sampler and processors in force."""
        self.sampler.inner = ParentBased(TraceIdRatioBased(sampling_rate))
        self.pipeline.processors = tuple(processors)

    def switch_off(self) -> None:
        """Record nothing from now on."""
        self.sampler.inner = ALWAYS_OFF
        self.pipeline.processors = ()
