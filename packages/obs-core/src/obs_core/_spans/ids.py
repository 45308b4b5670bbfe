"""Random trace and span ids, and a span id that the caller chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

from obs_core._safety.containment import call_contained, warn_once
from obs_core._safety.fork_watch import fork_mark, fork_watch
from obs_core._safety.random_numbers import random_numbers

_wanted: ContextVar[int | None] = ContextVar("obs_core_span_id", default=None)
_next_trace: ContextVar[int | None] = ContextVar("obs_core_trace_id", default=None)


class ContextIdGenerator(RandomIdGenerator):
    """Random ids or those of the user's generator, except for a span id that `use_span_id` has set.

    Attributes:
        inner: The user's generator; None: random ids.
    """

    inner: IdGenerator | None = None

    def generate_trace_id(self) -> int:
        """Return the id set by `use_next_trace_id`, once; else a random id of 128 bits."""
        wanted = _next_trace.get()
        if wanted is None:
            if self.inner is not None:
                return _drawn(self.inner.generate_trace_id, 128)
            return random_numbers.nonzero(128)
        _next_trace.set(None)
        return wanted

    def generate_span_id(self) -> int:
        """Return the id set by `use_span_id`, once; else a random id of 64 bits."""
        wanted = _wanted.get()
        if wanted is None:
            if self.inner is not None:
                return _drawn(self.inner.generate_span_id, 64)
            if not fork_mark[0]:
                fork_watch.notice()
            return random_numbers.getrandbits(64) or random_numbers.nonzero(64)
        _wanted.set(None)
        return wanted

    def is_trace_id_random(self) -> bool:
        """Whether trace ids have the randomness of W3C's level 2: asked by the SDK from 1.42 on."""
        if self.inner is None:
            return True
        ask = getattr(self.inner, "is_trace_id_random", None)
        return bool(ask and call_contained("asking the id generator", ask))


def _drawn(draw: Callable[[], int], bits: int) -> int:
    """Return an id that the user's generator draws; a random one where that fails, or is no id. Never raises."""
    fork_watch.notice()
    found = call_contained("drawing an id", draw)
    if isinstance(found, int) and 0 < found < 1 << bits:
        return found
    if found is not None:
        problem = f"the id generator draws {found!r}, which is no id of {bits} bits: random ids in its place"
        warn_once(f"id generator:{bits}", problem)
    return random_numbers.nonzero(bits)


@contextmanager
def use_span_id(span_id: int) -> Iterator[None]:
    """Give the first span started inside the block the id `span_id` (non-zero, 64 bit).

    For two processes that agree on an id, so that the children in one process find their parent, exported by the other.
    Has an effect only if `span_ids_can_be_set`. Bound to the current context: other threads and tasks are untouched.
    """
    token = _wanted.set(span_id)
    try:
        yield
    finally:
        _wanted.reset(token)


def use_next_trace_id(trace_id: int | None) -> None:
    """Give the next root span of this context the trace id `trace_id`; None: a random id, as ever."""
    _next_trace.set(trace_id)


def draw_span_id() -> int:
    """Return a new random span id, never the id set by `use_span_id`."""
    return random_numbers.nonzero(64)


def span_ids_can_be_set(provider: trace.TracerProvider | None = None) -> bool:
    """Whether `use_span_id` has an effect on `provider` (default: the global provider)."""
    generator = getattr(provider or trace.get_tracer_provider(), "id_generator", None)
    return isinstance(generator, ContextIdGenerator)
