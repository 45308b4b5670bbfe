"""The span of a call, made when the call is over.

A span made at the end with the times of the call cannot stay open, not even after a cancelled task,
a listener that raises or a killed greenlet, and costs nothing until then. The parent is the span
that is current where the call returns, which is also the span under which the call was made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from obs_core.integration import (
    SpanPolicy,
    error_type,
    fail,
    package_tracer,
    span_of,
    suppress_all,
)
from opentelemetry import context as otel_context
from opentelemetry.trace import (
    Span,
    SpanKind,
)
from opentelemetry.util.types import AttributeValue

from obs_db._options import Options


class Origin:
    """The tracer of an engine or a client, and the policy that says which calls get a span. Thread-safe.

    Args:
        options: Of the engine or client.
        library: The client's top-level packages: see `SpanPolicy`.
    """

    __slots__ = ("policy", "tracer")

    def __init__(self, options: Options, library: frozenset[str]) -> None:
        provider = options.tracer_provider
        self.policy = SpanPolicy(
            provider,
            roots=options.roots,
            library=library,
            include_broker=options.include_broker,
        )
        self.tracer = package_tracer("obs-db", provider)


@contextmanager
def no_spans() -> Iterator[None]:
    """Run a block in which no instrumentation makes a span."""
    token = otel_context.attach(suppress_all())
    try:
        yield
    finally:
        otel_context.detach(token)


class Call:
    """The place of a call that has just ended: the context and the parent span.

    Args:
        context: The context in which the call returned.
    """

    __slots__ = ("context",)

    def __init__(self, context: otel_context.Context) -> None:
        self.context = context

    @property
    def parent(self) -> Span:
        """The span under which the call was made; invalid outside any trace."""
        return span_of(self.context)

    def start_span(
        self,
        origin: Origin,
        name: str,
        started: int,
        attributes: Mapping[str, AttributeValue],
    ) -> Span:
        """Start the call's span as of `started`, nanoseconds since the epoch."""
        return origin.tracer.start_span(
            name, self.context, SpanKind.CLIENT, attributes, start_time=started
        )


def record_failure(
    span: Span, error: BaseException, code: str | None, *, expected: bool = False
) -> None:
    """Mark `span` as failed or cancelled, without the error's message: databases quote values there.

    Args:
        span: Still open.
        error: The exception of the call.
        code: The database's code for the error.
        expected: The error is a normal answer of the database, and no failure.
    """
    if code:
        span.set_attribute("db.response.status_code", code)
    if isinstance(error, asyncio.CancelledError):
        span.set_attribute("obs.cancelled", True)
    elif not expected:
        fail(span, error_type(error), _description(error, code))


def _description(error: BaseException, code: str | None) -> str:
    name = type(error).__name__
    if code:
        name += f" ({code})"
    return name
