"""A message as it was received, in whichever of AWS's spellings: boto3 client, boto3 resource, Lambda event, SNS envelope."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.context import Context

from obs_aws._carrier import XRAY_ATTRIBUTE, extract_context

#: SNS puts the attributes into the body unless the subscription has raw delivery; a body beyond this is not searched.
_MAX_ENVELOPE_CHARACTERS = 262_144


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """What processing needs of a message; a part that is missing or malformed is None or empty."""

    headers: Mapping[str, str]
    xray: str | None
    message_id: str | None
    destination: str | None
    receive_count: int | None

    def context(self) -> Context:
        """Return the context that the message carries."""
        return extract_context(self.headers, self.xray)


def read_message(message: object) -> ReceivedMessage:
    """Read a message: a mapping as SQS or Lambda deliver it, or a boto3 ``sqs.Message``. Never raises on what AWS delivers."""
    sns = _get(message, "Sns")
    system = _mapping(_get(message, "Attributes", "attributes"))
    headers = _headers(
        _get(message, "MessageAttributes", "messageAttributes", "message_attributes")
    )
    envelope = (
        sns
        if isinstance(sns, Mapping)
        else _envelope(message)
        if "traceparent" not in headers
        else {}
    )
    receive_count = str(system.get("ApproximateReceiveCount", ""))
    return ReceivedMessage(
        headers={**_headers(envelope.get("MessageAttributes")), **headers},
        xray=_text(system.get(XRAY_ATTRIBUTE)),
        message_id=_text(
            _get(message, "MessageId", "messageId", "message_id") or envelope.get("MessageId")
        ),
        destination=_text(_get(message, "eventSourceARN", "queue_url") or envelope.get("TopicArn")),
        receive_count=int(receive_count) if receive_count.isdecimal() else None,
    )


def _get(message: object, *names: str) -> Any:
    for name in names:
        value = message.get(name) if isinstance(message, Mapping) else getattr(message, name, None)
        if value is not None:
            return value
    return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _headers(attributes: object) -> dict[str, str]:
    """Return the textual attributes, under their names as sent and in lower case: propagators look for either."""
    named = _mapping(attributes).items()
    values = [(str(name), value) for name, attribute in named if (value := _value(attribute))]
    return {**{name.lower(): value for name, value in values}, **dict(values)}


def _value(given: object) -> str | None:
    attribute = _mapping(given)
    text = attribute.get("StringValue") or attribute.get("stringValue") or attribute.get("Value")
    raw = attribute.get("BinaryValue")
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) and not text else _text(text)


def _envelope(message: object) -> Mapping[str, Any]:
    body = _get(message, "Body", "body")
    if (
        not isinstance(body, str)
        or len(body) > _MAX_ENVELOPE_CHARACTERS
        or '"TopicArn"' not in body
    ):
        return {}
    try:
        return _mapping(json.loads(body))
    except ValueError:
        return {}
