"""The TracerProvider of a set-up: the SDK's, with replaceable sampler and processors.

OpenTelemetry lets the global provider be set once, and tracers keep their provider; a second set-up therefore changes
the parts of the first provider.
"""

from __future__ import annotations

# The SDK's provider starts a ThreadPoolExecutor in each forked child (1.43 and later). The executor's module must be the first
# of the two to watch forks: else the child waits for ever for a lock that this module is yet to reset.
import concurrent.futures.thread  # noqa: F401
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from obs_core._provider.processors import Pipeline
from obs_core._provider.resource import ProcessResource
from obs_core._provider.unsampled import ThriftyProvider
from obs_core._spans.ids import ContextIdGenerator


class SwitchableSampler(Sampler):
    """Asks the sampler of the set-up in force, which always keeps the decision of an unsampled parent."""

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


class SwitchableProvider:
    """An SDK TracerProvider with the parts that a later set-up changes."""

    def __init__(self, resource: ProcessResource) -> None:
        self.pipeline: Pipeline = Pipeline()
        self.sampler: SwitchableSampler = SwitchableSampler(ALWAYS_OFF)
        self.provider: TracerProvider = ThriftyProvider(
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

    def sample(self, rate: float) -> None:
        """Sample this share of new traces from now on."""
        self.sampler.inner = ParentBased(TraceIdRatioBased(rate))

    def switch_off(self) -> None:
        """Record nothing from now on."""
        self.sampler.inner = ALWAYS_OFF
