"""SQS and SNS: each message carries its own context, a poll asks for it, and what is received is linked to its senders."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from obs_core.integration import fail
from opentelemetry.context import Context, get_current
from opentelemetry.trace import (
    Span,
    SpanKind,
    get_current_span,
    set_span_in_context,
)

from obs_aws._calls import Attributes, Call, Params
from obs_aws._carrier import (
    XRAY_ATTRIBUTE,
    context_headers,
    fits,
    header_names,
    with_headers,
    with_xray_attribute,
    xray_header,
)
from obs_aws._message import read_message
from obs_aws._plan import Plan
from obs_aws._scrub import scrub

Entry = Mapping[str, Any]
_SYSTEMS = {"sqs": "aws_sqs", "sns": "aws.sns"}
_SETTLING = {
    "DeleteMessage": "delete",
    "DeleteMessageBatch": "delete",
    "ChangeMessageVisibility": "change_visibility",
    "ChangeMessageVisibilityBatch": "change_visibility",
}
_ENTRIES = {"SendMessageBatch": "Entries", "PublishBatch": "PublishBatchRequestEntries"}


def sqs_call(plan: Plan, operation: str, params: Params) -> Call:
    """Choose how an SQS call is traced."""
    if operation in _SETTLING:
        return _SettleCall(plan, operation, params)
    calls: dict[str, type[Call]] = {
        "SendMessage": _SendCall,
        "SendMessageBatch": _BatchCall,
        "ReceiveMessage": _ReceiveCall,
    }
    return calls.get(operation, Call)(plan, operation, params)


def sns_call(plan: Plan, operation: str, params: Params) -> Call:
    """Choose how an SNS call is traced."""
    calls: dict[str, type[Call]] = {"Publish": _SendCall, "PublishBatch": _BatchCall}
    return calls.get(operation, Call)(plan, operation, params)


def destination_name(address: object) -> str | None:
    """Return the queue's or topic's name, from its URL, ARN or the name itself."""
    if not isinstance(address, str):
        return None
    return (
        scrub(address.partition("?")[0].rstrip("/").rpartition("/")[2].rpartition(":")[2]) or None
    )


class _MessageCall(Call):
    """What all calls about messages have: a destination, and names by the messaging conventions."""

    operation_name, operation_type = "send", "send"

    def destination(self) -> str | None:
        params = self.params
        return destination_name(
            params.get("QueueUrl") or params.get("TopicArn") or params.get("TargetArn")
        )

    def span_name(self) -> str:
        return f"{self.operation_name} {self.destination() or 'unknown'}"

    def attributes(self) -> Attributes:
        attributes: Attributes = {
            "messaging.system": _SYSTEMS[self.plan.service],
            "messaging.operation.name": self.operation_name,
            "messaging.operation.type": self.operation_type,
        }
        if name := self.destination():
            attributes["messaging.destination.name"] = name
        for parameter, key in (
            ("QueueUrl", "aws.sqs.queue.url"),
            ("TopicArn", "aws.sns.topic.arn"),
        ):
            if isinstance(address := self.params.get(parameter), str):
                attributes[key] = scrub(address)
        return attributes


class _SettleCall(_MessageCall):
    operation_type = "settle"

    def __init__(self, plan: Plan, operation: str, params: Params) -> None:
        super().__init__(plan, operation, params)
        self.operation_name = _SETTLING[operation]


class _SendCall(_MessageCall):
    """One message: its context is that of the span that sends it."""

    kind = SpanKind.PRODUCER

    def span_name(self) -> str:
        # a phone number is nobody's business, and has no attributes to carry anything in
        return "send sms" if "PhoneNumber" in self.params else super().span_name()

    def carry(self, context: Context | None) -> Params:
        if "PhoneNumber" in self.params:
            return self.params
        return _carry_each(self.plan, [self.params], [context])[0]

    def read(self, result: Mapping[str, Any]) -> None:
        if message_id := result.get("MessageId"):
            self.span.set_attribute("messaging.message.id", message_id)


class _BatchCall(_MessageCall):
    """Several messages in one call: a ``create`` span and a context of its own for each, below the call that sends them."""

    def __init__(self, plan: Plan, operation: str, params: Params) -> None:
        super().__init__(plan, operation, params)
        entries = params.get(_ENTRIES[operation])
        self._entries: list[Entry] = list(entries) if isinstance(entries, (list, tuple)) else []
        self._created: list[Span] = []

    def attributes(self) -> Attributes:
        return {**super().attributes(), "messaging.batch.message_count": len(self._entries)}

    def carry(self, context: Context | None) -> Params:
        if not self._entries or not all(isinstance(entry, Mapping) for entry in self._entries):
            return self.params
        contexts = [self._create(entry, context) for entry in self._entries]
        return {
            **self.params,
            _ENTRIES[self.operation]: _carry_each(self.plan, self._entries, contexts),
        }

    def _create(self, entry: Entry, context: Context | None) -> Context | None:
        if not self.span.is_recording() or context is None:
            return context
        attributes = {
            **super().attributes(),
            "messaging.operation.name": "create",
            "messaging.operation.type": "create",
        }
        name = f"create {self.destination() or 'unknown'}"
        span = self.plan.tracer.start_span(name, context, SpanKind.PRODUCER, attributes)
        self._created.append(span)
        return set_span_in_context(span, context)

    def read(self, result: Mapping[str, Any]) -> None:
        created = dict(
            zip((entry.get("Id") for entry in self._entries), self._created, strict=False)
        )
        failed = result.get("Failed", ())
        for sent in result.get("Successful", ()):
            created[sent["Id"]].set_attribute("messaging.message.id", sent["MessageId"])
        for refused in failed:
            fail(created[refused["Id"]], refused["Code"], refused["Code"])
        if failed:
            self.span.set_attribute("aws.failed_entry_count", len(failed))

    def end(self) -> None:
        for span in self._created:
            span.end()
        super().end()


def _carry_each(plan: Plan, entries: list[Entry], contexts: list[Context | None]) -> list[Entry]:
    """Return the messages with their contexts, by the propagator in force; as they are where that would make them too big."""
    if plan.options.propagator == "xray":
        if plan.service != "sqs":
            return entries
        return [
            with_xray_attribute(entry, xray_header(context))
            for entry, context in zip(entries, contexts, strict=True)
        ]
    headers = [context_headers(context) for context in contexts]
    if not fits(entries, max(headers, key=lambda each: sum(map(len, each.values())), default={})):
        return entries
    return [with_headers(entry, each) for entry, each in zip(entries, headers, strict=True)]


class _ReceiveCall(_MessageCall):
    """A poll: it asks for the context, and is a span only once it has brought a message or failed."""

    operation_name, operation_type = "receive", "receive"

    def begin(self) -> Call:
        self._start_time = time.time_ns()
        self._around = get_current()
        self._is_wanted = self.is_wanted()
        self.enter(set_span_in_context(self.span))
        return self

    def carry(self, context: Context | None) -> Params:
        system = (
            "MessageSystemAttributeNames"
            if "MessageSystemAttributeNames" in self.params
            else "AttributeNames"
        )
        return _asking(
            _asking(self.params, "MessageAttributeNames", header_names()), system, [XRAY_ATTRIBUTE]
        )

    def answer(self, result: Any) -> Any:
        if self._is_wanted and (self.plan.options.empty_polls or result.get("Messages")):
            self.start(self._start_time, self._around)
        return super().answer(result)

    def fail(self, error: BaseException) -> None:
        # a poll that is cancelled has brought nothing: a consumer that stops, not one that fails
        if self._is_wanted and isinstance(error, Exception):
            self.start(self._start_time, self._around)
        super().fail(error)

    def read(self, result: Mapping[str, Any]) -> None:
        messages = result.get("Messages") or ()
        self.span.set_attribute("messaging.batch.message_count", len(messages))
        for message in map(read_message, messages):
            producer = get_current_span(message.context()).get_span_context()
            if producer.is_valid:
                self.span.add_link(
                    producer,
                    {"messaging.message.id": message.message_id} if message.message_id else None,
                )


def _asking(params: Params, parameter: str, names: list[str]) -> Params:
    """Return a copy of `params` that asks for `names` as well, unless it asks for everything."""
    asked = params.get(parameter) or []
    if not isinstance(asked, (list, tuple)) or {"All", ".*"} & set(asked):
        return params
    return {**params, parameter: [*asked, *(name for name in names if name not in asked)]}
