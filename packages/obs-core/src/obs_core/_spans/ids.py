"""An id generator that can be told which span id comes next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

_wanted: ContextVar[int | None] = ContextVar("obs_core_span_id", default=None)


class ContextIdGenerator(RandomIdGenerator):
    """Random ids as the SDK draws them, except where `use_span_id` asks for a certain one."""

    def generate_span_id(self) -> int:
        """Return the id asked for by `use_span_id`, once; else a random one."""
        wanted = _wanted.get()
        if wanted is None:
            return super().generate_span_id()
        _wanted.set(None)
        return wanted


@contextmanager
def use_span_id(span_id: int) -> Iterator[None]:
    """Give the first span started inside the block the id `span_id` (non-zero, 64 bit).

    Two processes that agree on an id can so tell one story: one of them exports the span. Has an effect only when
    `span_ids_can_be_set` says so. Bound to the current context: other threads and tasks are untouched.
    """
    token = _wanted.set(span_id)
    try:
        yield
    finally:
        _wanted.reset(token)


def draw_span_id() -> int:
    """Return a new random span id, never the one asked for by `use_span_id`."""
    return RandomIdGenerator().generate_span_id()


def span_ids_can_be_set(provider: trace.TracerProvider | None = None) -> bool:
    """Whether `use_span_id` has an effect on `provider` (default: the global one)."""
    generator = getattr(provider or trace.get_tracer_provider(), "id_generator", None)
    return isinstance(generator, ContextIdGenerator)
