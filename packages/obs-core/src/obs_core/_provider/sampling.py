"""The sampler of a set-up, replaceable behind the tracers."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from obs_core._config.objects import description
from obs_core._safety.containment import call_contained, warn_once

#: The low bits of a trace id, all set.
MAX_LOW_BITS: int = TraceIdRatioBased.TRACE_ID_LIMIT


class SwitchableSampler(Sampler):
    """Asks the sampler of the set-up in force.

    Attributes:
        bound: Traces whose low 64 bits are below are sampled, where the sampler in force decides by ratio and parent alone;
            otherwise None.
        is_keeping: Whether spans that are not sampled record, because their request may be kept.
    """

    def __init__(self, inner: Sampler) -> None:
        self.inner = inner
        self.is_keeping = False

    @property
    def inner(self) -> Sampler:
        """The sampler in force."""
        return self._inner

    @inner.setter
    def inner(self, inner: Sampler) -> None:
        self._inner: Sampler = inner
        self.bound: int | None = _ratio_bound(inner)

    def samples(self, bound: int, trace_id: int, parent: SpanContext | None) -> bool:
        """Return the answer of a sampler with a `bound`, without asking."""
        if parent is not None:
            return parent.trace_flags & 1 == 1
        return trace_id & MAX_LOW_BITS < bound

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
        return self._inner.should_sample(
            parent_context, trace_id, name, kind, attributes, links
        )

    def get_description(self) -> str:
        """Describe the sampler in force."""
        return self._inner.get_description()


def _ratio_bound(sampler: Sampler) -> int | None:
    """Return the bound of ``ParentBased(TraceIdRatioBased(rate))``, otherwise None."""
    root = getattr(sampler, "_root", None)
    if type(sampler) is not ParentBased or type(root) is not TraceIdRatioBased:
        return None
    expected = ParentBased(root)
    return root.bound if vars(sampler) == vars(expected) else None


class ContainedSampler(Sampler):
    """A sampler of the user's; where it fails, the parent decides, and roots are sampled."""

    def __init__(self, inner: Sampler) -> None:
        self._inner = inner
        self._description = description(inner)

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
        """Return the inner sampler's answer. Never raises."""
        asked = (parent_context, trace_id, name, kind, attributes, links)
        found: object = call_contained(
            "asking the sampler", self._inner.should_sample, *asked
        )
        if isinstance(found, SamplingResult):
            return found
        if found is not None:
            warn_once(
                f"sampler:{self._description}",
                f"{self._description} answers {found!r}, which is no SamplingResult: the parent decides",
            )
        return _FALLBACK.should_sample(*asked)

    def get_description(self) -> str:
        """Return what the inner sampler says of itself."""
        return self._description


def contained(sampler: Sampler) -> Sampler:
    """Return `sampler`, behind a `ContainedSampler` where it is asked at all."""
    return ContainedSampler(sampler) if _ratio_bound(sampler) is None else sampler


_FALLBACK = ParentBased(ALWAYS_ON)
