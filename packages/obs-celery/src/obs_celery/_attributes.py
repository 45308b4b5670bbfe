"""A message's attributes, the same on the spans of publish and execution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.util.types import AttributeValue

from obs_celery._message import aware, chord_id

Attributes = dict[str, AttributeValue]

_FIELDS = (
    ("messaging.message.id", "id"),
    ("celery.task.id", "id"),
    ("celery.root_id", "root_id"),
    ("celery.group.id", "group"),
)


def message_attributes(
    known: Attributes,
    fields: Mapping[str, Any],
    chord: object,
    place: tuple[str | None, str | None],
) -> Attributes:
    """Return a copy of `known` with the attributes of the message's `fields`, `chord` and `place`.

    `place` is destination and routing key: see `Broker.place`.
    """
    attributes = known.copy()
    for name, key in _FIELDS:
        value = fields.get(key)
        if value is not None:
            attributes[name] = str(value)
    # a retry is sent by the attempt before, so Celery names a task without a parent as the parent of its own retries
    parent, eta = fields.get("parent_id"), fields.get("eta")
    if parent is not None and parent != fields.get("id"):
        attributes["celery.parent_id"] = str(parent)
    if eta is not None:
        attributes["celery.eta"] = aware(str(eta))
    attributes["celery.retries"] = fields.get("retries") or 0
    destination, routing_key = place
    if destination is not None:
        attributes["messaging.destination.name"] = destination
    if routing_key is not None and known["messaging.system"] == "rabbitmq":
        attributes["messaging.rabbitmq.destination.routing_key"] = routing_key
    if chord and (body_id := chord_id(chord)):
        attributes["celery.chord.id"] = body_id
    return attributes
