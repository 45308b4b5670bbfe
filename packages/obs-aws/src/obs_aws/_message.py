"""A received message, in each of AWS's formats: boto3 client, boto3 resource, Lambda event, SNS envelope."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.context import Context

from obs_aws._propagation import XRAY_ATTRIBUTE, extract_context

#: SNS puts attributes into the body unless the subscription has raw delivery; longer bodies are not searched.
_MAX_ENVELOPE_CHARACTERS = 262_144


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """The parts of a message for a processing span; a missing or malformed part is None or empty."""

    headers: Mapping[str, str]
    xray: str | None
    message_id: str | None
    destination: str | None
    receive_count: int | None

    def context(self) -> Context:
        """Return the trace context in the message."""
        return extract_context(self.headers, self.xray)


def read_message(message: object) -> ReceivedMessage:
    """Read a mapping that SQS or Lambda delivered, or a boto3 ``sqs.Message``; malformed parts are left out."""
    system = _mapping(_get(message, "Attributes", "attributes"))
    attributes = _get(
        message, "MessageAttributes", "messageAttributes", "message_attributes"
    )
    headers = _headers(attributes)
    envelope = _mapping(_get(message, "Sns"))
    if not envelope and "traceparent" not in headers:
        envelope = _envelope(_get(message, "Body", "body"))
    message_id = _get(message, "MessageId", "messageId", "message_id")
    destination = _get(message, "eventSourceARN", "queue_url")
    return ReceivedMessage(
        headers={**_headers(envelope.get("MessageAttributes")), **headers},
        xray=_text(system.get(XRAY_ATTRIBUTE)),
        message_id=_text(message_id or envelope.get("MessageId")),
        destination=_text(destination or envelope.get("TopicArn")),
        receive_count=_count(system.get("ApproximateReceiveCount")),
    )


def _get(message: object, *names: str) -> Any:
    """Return the first of the keys, or attributes, `names` that `message` has."""
    if isinstance(message, Mapping):
        values = (message.get(name) for name in names)
    else:
        values = (getattr(message, name, None) for name in names)
    return next((value for value in values if value is not None), None)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    text = str(value)
    return int(text) if text.isdecimal() else None


def _headers(attributes: object) -> dict[str, str]:
    """Return the text attributes, by the names as sent and in lower case: a propagator may look for either."""
    lower, sent = {}, {}
    for name, attribute in _mapping(attributes).items():
        if value := _value(_mapping(attribute)):
            lower[str(name).lower()] = sent[str(name)] = value
    return {**lower, **sent}


def _value(attribute: Mapping[str, Any]) -> str | None:
    text = (
        attribute.get("StringValue")
        or attribute.get("stringValue")
        or attribute.get("Value")
    )
    raw = attribute.get("BinaryValue")
    if isinstance(raw, bytes) and not text:
        return raw.decode("utf-8", "replace")
    return _text(text)


def _envelope(body: object) -> Mapping[str, Any]:
    """Return the envelope that SNS put around a message; {} if `body` is not an envelope."""
    if not isinstance(body, str) or len(body) > _MAX_ENVELOPE_CHARACTERS:
        return {}
    if '"TopicArn"' not in body:
        return {}
    try:
        return _mapping(json.loads(body))
    except ValueError:
        return {}
