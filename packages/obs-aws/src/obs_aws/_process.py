"""The span of a message's processing: a block of its own, for botocore has no event to end one by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, Literal

from obs_core.exceptions import ConfigurationError
from obs_core.integration import (
    ShapingTracerProvider,
    SpanShape,
    call_contained,
    fail,
    package_tracer,
    record_error,
)
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanKind,
    TracerProvider,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from obs_aws._message import ReceivedMessage, read_message
from obs_aws._messaging import destination_name
from obs_aws._outcome import error_code
from obs_aws._scrub import mask

Relation = Literal["parent", "link"]
_SHAPE = SpanShape(
    attribute=lambda _, value: mask(value) if isinstance(value, str) else value, description=mask
)


def process_message(
    message: object,
    *,
    destination: str | None = None,
    relation: Relation = "parent",
    attributes: Mapping[str, AttributeValue] | None = None,
    tracer_provider: TracerProvider | None = None,
) -> MessageScope:
    """Return a context manager, for ``with`` and ``async with``, that traces the processing of a message, or of several.

    Args:
        message: A message as ``receive_message`` returns it, a boto3 ``sqs.Message``, a record of a Lambda event, or a
            sequence of those that is processed as one batch.
        destination: Name, URL or ARN of the queue, for a message that does not say where it comes from (a client's).
        relation: "parent": the span is a child of the one that sent the message, in its trace. "link": it is linked to it
            and belongs to the current trace, or to a new one. A batch is always linked, once for each message.
        attributes: More attributes of the span.
        tracer_provider: Where the span goes; None: the global provider.

    The block runs in the message's context, baggage included; entering gives the span. An exception that leaves the block
    is recorded and goes on. Works with or without `instrument_boto3`, which makes polls ask for the context.

    Raises:
        ConfigurationError: `relation` is none of the two. Nothing else: a malformed message is processed like one without
            context.
    """
    if relation not in ("parent", "link"):
        raise ConfigurationError(
            f"relation={relation!r} is not known; choose one of 'parent', 'link'"
        )
    is_batch = isinstance(message, Sequence) and not isinstance(message, (str, bytes))
    messages: Sequence[object] = message if is_batch else [message]  # type: ignore[assignment]
    read = [call_contained("reading a message", read_message, each) for each in messages]
    known = [each or _UNREADABLE for each in read]
    return MessageScope(known, is_batch, destination, relation, attributes or {}, tracer_provider)


_UNREADABLE = ReceivedMessage({}, None, None, None, None)


class MessageScope(AbstractContextManager[Span], AbstractAsyncContextManager[Span]):
    """What `process_message` returns: enter it once, in the thread or task that processes."""

    def __init__(
        self,
        messages: Sequence[ReceivedMessage],
        is_batch: bool,
        destination: str | None,
        relation: Relation,
        attributes: Mapping[str, AttributeValue],
        tracer_provider: TracerProvider | None,
    ) -> None:
        self._messages = messages
        self._relation = "link" if is_batch else relation
        self._is_batch = is_batch
        address = destination or next(
            (each.destination for each in messages if each.destination), None
        )
        self._destination = destination_name(address)
        self._attributes = attributes
        self._tracer_provider = tracer_provider
        self._span: Span = INVALID_SPAN

    def __enter__(self) -> Span:
        current = get_current()
        self._token = attach(call_contained("process_message", self._start, current) or current)
        return self._span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        detach(self._token)
        if error is not None and not isinstance(error, GeneratorExit):
            _record(self._span, error)
        self._span.end()

    async def __aenter__(self) -> Span:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def _start(self, current: Context) -> Context:
        ambient = get_current_span(current)
        contexts = [message.context() for message in self._messages]
        parent = Context({**current, **contexts[0]}) if len(contexts) == 1 else current
        links = [
            self._link(message, context)
            for message, context in zip(self._messages, contexts, strict=True)
        ]
        if self._relation == "link":
            parent = set_span_in_context(ambient, parent)
        else:
            # what is linked is the span that is not the parent: of the loop around, if it has one
            links = (
                [Link(ambient.get_span_context())]
                if get_current_span(parent) is not ambient
                else []
            )
        tracer = package_tracer("obs-aws", ShapingTracerProvider(_SHAPE, self._tracer_provider))
        valid = [link for link in links if link.context.is_valid]
        self._span = tracer.start_span(
            self._name(), parent, SpanKind.CONSUMER, self._all_attributes(), valid
        )
        return set_span_in_context(self._span, parent)

    def _link(self, message: ReceivedMessage, context: Context) -> Link:
        attributes = (
            {"messaging.message.id": message.message_id}
            if message.message_id and self._is_batch
            else None
        )
        return Link(get_current_span(context).get_span_context(), attributes)

    def _name(self) -> str:
        return f"process {self._destination}" if self._destination else "process"

    def _all_attributes(self) -> dict[str, AttributeValue]:
        first = (
            self._messages[0] if len(self._messages) == 1 and not self._is_batch else _UNREADABLE
        )
        optional: dict[str, Any] = {
            "messaging.destination.name": self._destination,
            "messaging.message.id": first.message_id,
            "messaging.batch.message_count": len(self._messages) if self._is_batch else None,
            "aws.sqs.receive_count": first.receive_count,
        }
        system = {
            "messaging.system": "aws_sqs",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
        }
        return {
            **system,
            **{key: value for key, value in optional.items() if value is not None},
            **self._attributes,
        }


def _record(span: Span, error: BaseException) -> None:
    """Record what left the block; of an error of AWS the code alone, for its message quotes keys and values."""
    code = error_code(error)
    if code is None:
        record_error(span, error)
    else:
        fail(span, code, code)
