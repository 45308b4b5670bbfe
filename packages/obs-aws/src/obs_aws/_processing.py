"""`process_message`: a block around the processing of a message; botocore has no event at the end of processing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, Literal, get_args

from obs_core.integration import (
    ShapingTracerProvider,
    SpanShape,
    call_contained,
    check_choice,
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

from obs_aws._attributes import Attributes, destination_name
from obs_aws._message import ReceivedMessage, read_message
from obs_aws._outcome import error_code
from obs_aws._scrub import mask

Relation = Literal["parent", "link"]


def _mask_attribute(_: str, value: AttributeValue) -> AttributeValue:
    return mask(value) if isinstance(value, str) else value


_SHAPE = SpanShape(attribute=_mask_attribute, description=mask)
_UNREADABLE = ReceivedMessage({}, None, None, None, None)


def process_message(
    message: object,
    *,
    destination: str | None = None,
    relation: Relation = "parent",
    attributes: Mapping[str, AttributeValue] | None = None,
    tracer_provider: TracerProvider | None = None,
) -> MessageScope:
    """Return a context manager, for ``with`` and ``async with``, that traces the processing of a message or of a batch.

    Args:
        message: A message from ``receive_message``, a boto3 ``sqs.Message``, a record of a Lambda event, or a sequence of
            these, which is processed as a batch.
        destination: Name, URL or ARN of the queue: a message from ``receive_message`` does not contain the queue.
        relation: "parent": the span is a child of the sender's span, in the sender's trace. "link": the span is linked to
            the sender's span, in the current trace or a new trace. A batch is always linked, to each sender.
        attributes: Further attributes of the span.
        tracer_provider: The provider of the span. Default: the global provider.

    The block runs in the message's context, baggage included; entering returns the span. An exception that leaves the block
    is recorded and propagates. Works with or without `instrument_boto3`, which makes polls ask for the context.

    Raises:
        ConfigurationError: `relation` is neither "parent" nor "link". A malformed message raises nothing: it is processed
            like a message without a trace context.
    """
    check_choice("relation", relation, get_args(Relation))
    is_batch = isinstance(message, Sequence) and not isinstance(message, (str, bytes))
    messages: Sequence[object] = message if is_batch else [message]  # type: ignore[assignment]
    read = [
        call_contained("reading a message", read_message, each) or _UNREADABLE
        for each in messages
    ]
    return MessageScope(
        read, is_batch, destination, relation, attributes or {}, tracer_provider
    )


class MessageScope(AbstractContextManager[Span], AbstractAsyncContextManager[Span]):
    """The context manager that `process_message` returns: enter once, in the thread or task that processes."""

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
        self._is_batch = is_batch
        self._relation: Relation = relation
        if is_batch:
            self._relation = "link"
        known = [destination, *(message.destination for message in messages)]
        self._destination = destination_name(next(filter(None, known), None))
        self._attributes = attributes
        self._tracer_provider = tracer_provider
        self._span: Span = INVALID_SPAN

    def __enter__(self) -> Span:
        current = get_current()
        self._token = attach(
            call_contained("process_message", self._start, current) or current
        )
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

    async def __aexit__(self, *raised: Any) -> None:
        self.__exit__(*raised)

    def _start(self, current: Context) -> Context:
        contexts = [message.context() for message in self._messages]
        parent = current
        if len(contexts) == 1:
            parent = Context({**current, **contexts[0]})
        ambient = get_current_span(current)
        if self._relation == "link":
            parent = set_span_in_context(ambient, parent)
            links = list(map(self._link, self._messages, contexts))
        else:
            links = _link_unless_parent(ambient, parent)
        tracer = package_tracer(
            "obs-aws", ShapingTracerProvider(_SHAPE, self._tracer_provider)
        )
        valid = [link for link in links if link.context.is_valid]
        name = f"process {self._destination or ''}".rstrip()
        self._span = tracer.start_span(
            name, parent, SpanKind.CONSUMER, self._all_attributes(), valid
        )
        return set_span_in_context(self._span, parent)

    def _link(self, message: ReceivedMessage, context: Context) -> Link:
        attributes = None
        if message.message_id and self._is_batch:
            attributes = {"messaging.message.id": message.message_id}
        return Link(get_current_span(context).get_span_context(), attributes)

    def _all_attributes(self) -> Attributes:
        attributes: dict[str, Any] = {
            "messaging.system": "aws_sqs",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": self._destination,
        }
        if self._is_batch:
            attributes["messaging.batch.message_count"] = len(self._messages)
        else:
            attributes["messaging.message.id"] = self._messages[0].message_id
            attributes["aws.sqs.receive_count"] = self._messages[0].receive_count
        known = {name: value for name, value in attributes.items() if value is not None}
        return {**known, **self._attributes}


def _link_unless_parent(ambient: Span, parent: Context) -> list[Link]:
    """Return a link to the span around the block, if the span is a child of another span."""
    if get_current_span(parent) is ambient:
        return []
    return [Link(ambient.get_span_context())]


def _record(span: Span, error: BaseException) -> None:
    """Record an exception that leaves the block; of AWS's errors the code only, as the message quotes keys and values."""
    code = error_code(error)
    if code is None:
        record_error(span, error)
    else:
        fail(span, code, code)
