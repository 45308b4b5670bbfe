"""The span of one call, made when the call is over.

A span made at the end with the times of the call cannot stay open, whatever happens in between (a cancelled task, a listener
that raises, a killed greenlet), and costs nothing until then. Its parent is the span that is current where the call returns,
which is the one it was made under.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

from obs_core.integration import error_type, is_worker_process
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
)
from opentelemetry.util.types import AttributeValue

from obs_db._options import Options

SCHEMA_URL = "https://opentelemetry.io/schemas/1.36.0"
_PARENTS = ("remote", "local")
# the two keys under which opentelemetry-instrumentation's suppress_instrumentation() leaves its wish
_SUPPRESSED = ("suppress_instrumentation", otel_context._SUPPRESS_INSTRUMENTATION_KEY)


class Origin:
    """What makes the spans of an engine or a client: the tracer and when to use it. Thread-safe."""

    __slots__ = ("_follows_parent", "options", "roots", "tracer")

    def __init__(self, options: Options) -> None:
        self.options = options
        self.roots = options.roots
        self.tracer = trace.get_tracer(
            "obs_db", version("obs-db"), options.tracer_provider, SCHEMA_URL
        )
        self._follows_parent: bool | None = None

    @property
    def follows_parent(self) -> bool:
        """Whether an unsampled parent decides; asked once, when spans are first made."""
        if self._follows_parent is None:
            self._follows_parent = follows_parent(self.options.tracer_provider)
        return self._follows_parent


@contextmanager
def no_spans() -> Iterator[None]:
    """Run a block in which no instrumentation makes a span."""
    context = otel_context.get_current()
    for key in _SUPPRESSED:
        context = otel_context.set_value(key, True, context)
    token = otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.detach(token)


def peer_attributes(options: Options) -> dict[str, AttributeValue]:
    """Return what names the database as the user calls it."""
    name = options.service_name
    return {"service.peer.name": name, "peer.service": name} if name else {}


def follows_parent(provider: trace.TracerProvider | None) -> bool:
    """Whether the sampler of `provider` (None: the global one) records nothing below a span that is not sampled.

    Read off the sampler's public description, so that a sampler of another kind is asked about each span.
    """
    sampler = getattr(provider or trace.get_tracer_provider(), "sampler", None)
    described = sampler.get_description() if isinstance(sampler, Sampler) else ""
    return described.startswith("ParentBased{") and all(
        f"{kind}ParentNotSampled:AlwaysOff" in described for kind in _PARENTS
    )


class Call:
    """The place of a call that has just ended: the context it was made in and the span it was made under.

    Args:
        below: The span it was made under, where that is not the current one.
    """

    __slots__ = ("_context", "parent")

    def __init__(self, below: SpanContext | None = None) -> None:
        self._context = otel_context.get_current()
        if below is not None:
            self._context = trace.set_span_in_context(NonRecordingSpan(below), self._context)
        self.parent = trace.get_current_span(self._context)

    def is_left_out(self, origin: Origin) -> bool:
        """Whether the call gets no span: it is suppressed, could not be recorded, or would be a root that nobody wants."""
        if self._context.get(_SUPPRESSED[0]) or self._context.get(_SUPPRESSED[1]):
            return True
        parent = self.parent.get_span_context()
        if parent.is_valid:
            return not parent.trace_flags.sampled and origin.follows_parent
        return origin.roots is False or (origin.roots == "auto" and is_worker_process())

    def start_span(
        self, origin: Origin, name: str, started: int, attributes: Mapping[str, AttributeValue]
    ) -> Span:
        """Start the call's span as of `started`, nanoseconds since the epoch."""
        return origin.tracer.start_span(
            name, self._context, SpanKind.CLIENT, attributes, start_time=started
        )


def record_failure(
    span: Span, error: BaseException, code: str | None, *, expected: bool = False
) -> None:
    """Mark `span` as failed or cancelled, without a word of the error's message: databases quote values in it.

    Args:
        span: Still open.
        error: What the call raised.
        code: What the database calls it.
        expected: It is part of how the database is used, and no failure.
    """
    if code:
        span.set_attribute("db.response.status_code", code)
    if isinstance(error, asyncio.CancelledError):
        span.set_attribute("obs.cancelled", True)
    elif not expected:
        name = type(error).__name__
        span.set_attribute("error.type", error_type(error))
        span.set_status(Status(StatusCode.ERROR, f"{name} ({code})" if code else name))
