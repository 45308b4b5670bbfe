"""The TracerProvider of a set-up: the SDK's, with replaceable sampler and processors.

OpenTelemetry lets the global provider be set once, and tracers keep their provider; a second set-up therefore changes
the parts of the first provider.
"""

from __future__ import annotations

# The SDK's provider starts a ThreadPoolExecutor in each forked child (1.43 and later). The executor's module must be the first
# of the two to watch forks: else the child waits for ever for a lock that this module is yet to reset.
import concurrent.futures.thread  # noqa: F401

from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)

from obs_core._export.keeper import Keeper
from obs_core._provider.processors import Pipeline
from obs_core._provider.resource import ProcessResource
from obs_core._provider.sampling import SwitchableSampler, contained
from obs_core._provider.tracers import LightProvider
from obs_core._spans.ids import ContextIdGenerator
from obs_core._spans.kept import keeping
from obs_core._spans.tracer import forget_answers, keeps_unsampled


class SwitchableProvider:
    """An SDK TracerProvider with the parts that a later set-up changes."""

    def __init__(self, resource: ProcessResource) -> None:
        self.pipeline: Pipeline = Pipeline()
        self.sampler: SwitchableSampler = SwitchableSampler(ALWAYS_OFF)
        self.ids: ContextIdGenerator = ContextIdGenerator()
        self.provider: LightProvider = LightProvider(
            sampler=self.sampler,
            resource=resource,
            shutdown_on_exit=False,
            active_span_processor=self.pipeline,
            id_generator=self.ids,
        )

    @property
    def resource(self) -> ProcessResource:
        """The resource of the spans made from now on."""
        resource = self.provider.resource
        assert isinstance(resource, ProcessResource)
        return resource

    def make_spans(self, kind: str) -> None:
        """Make ``light`` spans, where the SDK's layout is known, or the SDK's, from now on."""
        self.provider.spans.choose(kind)

    def sample(self, rate: float, sampler: Sampler | None = None) -> None:
        """Sample this share of new traces from now on; with a `sampler`, what that answers for each span."""
        if sampler is None:
            chosen: Sampler = ParentBased(TraceIdRatioBased(rate))
        else:
            chosen = contained(sampler)
        self.sampler.inner = chosen
        self.provider.spans.follow_unsampled = keeps_unsampled(chosen)
        forget_answers()

    def draw_ids(self, generator: IdGenerator | None) -> None:
        """Let `generator` draw the ids from now on; None: random ones."""
        self.ids.inner = generator

    def keep(self, keeper: Keeper | None) -> None:
        """Let `keeper` make the spans of unsampled requests from now on; None: such spans do not record."""
        self.provider.spans.keeper = keeper
        self.sampler.is_keeping = keeping.is_on = keeper is not None
        forget_answers()

    def switch_off(self) -> None:
        """Record nothing from now on."""
        self.sampler.inner = ALWAYS_OFF
        self.keep(None)
