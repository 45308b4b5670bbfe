"""The span of one call, made when the call is over.

A span made at the end with the times of the call cannot stay open, whatever happens in between (a cancelled task, a listener
that raises, a killed greenlet), and costs nothing until then. Its parent is the span that is current where the call returns,
which is the one it was made under.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from obs_core.integration import SpanPolicy, error_type, package_tracer
from opentelemetry import context as otel_context
from opentelemetry import trace
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

# the two keys under which opentelemetry-instrumentation's suppress_instrumentation() leaves its wish
_SUPPRESSED = ("suppress_instrumentation", otel_context._SUPPRESS_INSTRUMENTATION_KEY)


class Origin:
    """The tracer of an engine or a client, and the policy that says which calls get a span. Thread-safe.

    Args:
        options: Of the engine or client.
        library: The client's top-level packages: see `SpanPolicy`.
    """

    __slots__ = ("options", "policy", "tracer")

    def __init__(self, options: Options, library: frozenset[str]) -> None:
        self.options = options
        provider = options.tracer_provider
        self.policy = SpanPolicy(provider, roots=options.roots, library=library)
        self.tracer = package_tracer("obs-db", provider)


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
        return not origin.policy.wants_span(self._context)

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
