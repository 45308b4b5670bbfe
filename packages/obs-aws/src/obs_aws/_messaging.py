"""SQS and SNS: sent messages carry a trace context, polls ask for the context, received messages are linked to the senders."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from obs_core.integration import fail
from opentelemetry.context import Context, get_current
from opentelemetry.trace import Span, SpanKind, get_current_span, set_span_in_context

from obs_aws._api_call import ApiCall
from obs_aws._attributes import Attributes, Params, destination_name, text_attributes
from obs_aws._message import ReceivedMessage, read_message
from obs_aws._propagation import (
    XRAY_ATTRIBUTE,
    Entry,
    context_headers,
    fits,
    header_names,
    with_headers,
    with_xray_attribute,
    xray_header,
)
from obs_aws._state import ClientState

_SYSTEMS = {"sqs": "aws_sqs", "sns": "aws.sns"}
_ADDRESSES = {"QueueUrl": "aws.sqs.queue.url", "TopicArn": "aws.sns.topic.arn"}
#: ``messaging.operation.name`` and ``messaging.operation.type``; anything else sends.
_OPERATION_NAMES = {
    "ReceiveMessage": ("receive", "receive"),
    "DeleteMessage": ("delete", "settle"),
    "DeleteMessageBatch": ("delete", "settle"),
    "ChangeMessageVisibility": ("change_visibility", "settle"),
    "ChangeMessageVisibilityBatch": ("change_visibility", "settle"),
}
_CREATE = {"messaging.operation.name": "create", "messaging.operation.type": "create"}
_ENTRIES = {"SendMessageBatch": "Entries", "PublishBatch": "PublishBatchRequestEntries"}


class _MessageCall(ApiCall):
    """A call about messages: name and attributes follow the messaging conventions."""

    def destination(self) -> str | None:
        params = self.params
        address = (
            params.get("QueueUrl") or params.get("TopicArn") or params.get("TargetArn")
        )
        return destination_name(address)

    def span_name(self) -> str:
        operation_name, _ = self._names()
        return f"{operation_name} {self.destination() or 'unknown'}"

    def _names(self) -> tuple[str, str]:
        return _OPERATION_NAMES.get(self.operation, ("send", "send"))

    def attributes(self) -> Attributes:
        operation_name, operation_type = self._names()
        attributes: Attributes = {
            "messaging.system": _SYSTEMS[self.client.service],
            "messaging.operation.name": operation_name,
            "messaging.operation.type": operation_type,
        }
        if name := self.destination():
            attributes["messaging.destination.name"] = name
        return attributes | text_attributes(self.params, _ADDRESSES)


class _SendCall(_MessageCall):
    """A call that sends a message, which carries the context of the call's span."""

    kind = SpanKind.PRODUCER

    def span_name(self) -> str:
        # a phone number is personal, and an SMS has no attributes to carry a context
        return "send sms" if "PhoneNumber" in self.params else super().span_name()

    def carry(self, context: Context | None) -> Params:
        if "PhoneNumber" in self.params:
            return self.params
        return _carry_each(self.client, [self.params], [context])[0]

    def read(self, result: Mapping[str, Any]) -> None:
        if message_id := result.get("MessageId"):
            self.span.set_attribute("messaging.message.id", message_id)


class _BatchCall(_MessageCall):
    """A call that sends several messages: each carries the context of a ``create`` span, a child of the call's span."""

    def __init__(self, client: ClientState, operation: str, params: Params) -> None:
        super().__init__(client, operation, params)
        self._parameter = _ENTRIES[operation]
        self._created: list[Span] = []
        self._entries: list[Entry] = []
        if isinstance(entries := params.get(self._parameter), (list, tuple)):
            self._entries = list(entries)

    def attributes(self) -> Attributes:
        return {
            **super().attributes(),
            "messaging.batch.message_count": len(self._entries),
        }

    def carry(self, context: Context | None) -> Params:
        if not self._entries or not all(
            isinstance(entry, Mapping) for entry in self._entries
        ):
            return self.params
        contexts = [self._create(context) for _ in self._entries]
        entries = _carry_each(self.client, self._entries, contexts)
        return {**self.params, self._parameter: entries}

    def _create(self, context: Context | None) -> Context | None:
        """Start the ``create`` span of a message, if the call is recorded; return the context to carry."""
        if not self.span.is_recording() or context is None:
            return context
        name = f"create {self.destination() or 'unknown'}"
        attributes = {**super().attributes(), **_CREATE}
        span = self.client.tracer.start_span(
            name, context, SpanKind.PRODUCER, attributes
        )
        self._created.append(span)
        return set_span_in_context(span, context)

    def read(self, result: Mapping[str, Any]) -> None:
        ids = (entry.get("Id") for entry in self._entries)
        created = dict(zip(ids, self._created, strict=False))
        for sent in result.get("Successful", ()):
            created[sent["Id"]].set_attribute("messaging.message.id", sent["MessageId"])
        failed = result.get("Failed", ())
        for refused in failed:
            fail(created[refused["Id"]], refused["Code"], refused["Code"])
        if failed:
            self.span.set_attribute("aws.failed_entry_count", len(failed))

    def end(self) -> None:
        for span in self._created:
            span.end()
        super().end()


def _carry_each(
    client: ClientState, entries: list[Entry], contexts: list[Context | None]
) -> list[Entry]:
    """Return the messages with their contexts, or the messages as given, if the contexts would make them too big."""
    if client.options.propagator == "xray":
        return _carry_xray(client, entries, contexts)
    headers = list(map(context_headers, contexts))
    if not fits(entries, headers):
        return entries
    return [
        with_headers(entry, each) for entry, each in zip(entries, headers, strict=True)
    ]


def _carry_xray(
    client: ClientState, entries: list[Entry], contexts: list[Context | None]
) -> list[Entry]:
    if client.service != "sqs":
        return entries
    headers = map(xray_header, contexts)
    return [
        with_xray_attribute(entry, each)
        for entry, each in zip(entries, headers, strict=True)
    ]


class _ReceiveCall(_MessageCall):
    """A poll: the span starts once the poll has returned a message or failed, with the start time of the poll."""

    def begin(self) -> ApiCall:
        self._start_time = time.time_ns()
        self._around = get_current()
        self._is_wanted = self.is_wanted()
        self.enter(set_span_in_context(self.span))
        return self

    def carry(self, context: Context | None) -> Params:
        system = "AttributeNames"
        if "MessageSystemAttributeNames" in self.params:
            system = "MessageSystemAttributeNames"
        params = _asking(self.params, "MessageAttributeNames", header_names())
        return _asking(params, system, [XRAY_ATTRIBUTE])

    def answer(self, result: Any) -> Any:
        if self._is_wanted and (
            self.options.include_empty_polls or result.get("Messages")
        ):
            self.start(self._start_time, self._around)
        return super().answer(result)

    def fail(self, error: BaseException) -> None:
        # a cancelled poll is a consumer that stops, not a failure
        if self._is_wanted and isinstance(error, Exception):
            self.start(self._start_time, self._around)
        super().fail(error)

    def read(self, result: Mapping[str, Any]) -> None:
        messages = result.get("Messages") or ()
        self.span.set_attribute("messaging.batch.message_count", len(messages))
        for message in map(read_message, messages):
            self._link(message)

    def _link(self, message: ReceivedMessage) -> None:
        producer = get_current_span(message.context()).get_span_context()
        if producer.is_valid:
            attributes = message.message_id and {
                "messaging.message.id": message.message_id
            }
            self.span.add_link(producer, attributes or None)


def _asking(params: Params, parameter: str, names: list[str]) -> Params:
    """Return a copy of `params` that asks for `names` in addition; `params` if the caller asks for all."""
    asked = params.get(parameter) or []
    if not isinstance(asked, (list, tuple)) or {"All", ".*"} & set(asked):
        return params
    missing = [name for name in names if name not in asked]
    return {**params, parameter: [*asked, *missing]}


#: The classes of calls by operation of SQS or SNS.
MESSAGING: dict[str, type[ApiCall]] = {
    **dict.fromkeys(_OPERATION_NAMES, _MessageCall),
    "ReceiveMessage": _ReceiveCall,
    "SendMessage": _SendCall,
    "SendMessageBatch": _BatchCall,
    "Publish": _SendCall,
    "PublishBatch": _BatchCall,
}
