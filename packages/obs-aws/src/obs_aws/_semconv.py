"""The former names of DynamoDB's attributes, from before the database conventions were stable.

``OTEL_SEMCONV_STABILITY_OPT_IN`` with ``database/dup`` asks for both the stable and the former names:
https://opentelemetry.io/docs/specs/semconv/non-normative/db-migration/
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from opentelemetry.util.types import AttributeValue

_VARIABLE = "OTEL_SEMCONV_STABILITY_OPT_IN"
_FORMER = {
    "db.system.name": "db.system",
    "db.operation.name": "db.operation",
    "server.address": "net.peer.name",
    "server.port": "net.peer.port",
}
_FORMER_SYSTEM = {"db.system": "dynamodb"}


def wants_former_names() -> bool:
    """Whether the environment asks for the former names now."""
    return "database/dup" in {word.strip() for word in os.environ.get(_VARIABLE, "").split(",")}


def with_former_names(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Return the attributes of a DynamoDB call, under the stable and the former names."""
    former = {name: attributes[key] for key, name in _FORMER.items() if key in attributes}
    return {**attributes, **former, **_FORMER_SYSTEM}
