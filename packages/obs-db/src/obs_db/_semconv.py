"""Former attribute names, in addition to the stable names of OpenTelemetry's database conventions.

obs-db records the stable names. With ``OTEL_SEMCONV_STABILITY_OPT_IN=database/dup`` the former names
are recorded in addition, and older dashboards keep working:
https://opentelemetry.io/docs/specs/semconv/non-normative/db-migration/.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from opentelemetry.util.types import AttributeValue

_VARIABLE = "OTEL_SEMCONV_STABILITY_OPT_IN"
_ANY = {
    "db.system.name": "db.system",
    "db.operation.name": "db.operation",
    "db.query.text": "db.statement",
    "server.address": "net.peer.name",
    "server.port": "net.peer.port",
}
SQL = {**_ANY, "db.namespace": "db.name", "db.collection.name": "db.sql.table"}
REDIS = {
    **_ANY,
    "db.namespace": "db.redis.database_index",
    "db.operation.batch.size": "db.redis.pipeline_length",
}
_FORMER_SYSTEMS: dict[AttributeValue, AttributeValue] = {
    "microsoft.sql_server": "mssql",
    "oracle.db": "oracle",
}


def wants_former_names() -> bool:
    """Whether the environment requests the former names too; read at each call."""
    return "database/dup" in {word.strip() for word in os.environ.get(_VARIABLE, "").split(",")}


def with_former_names(
    attributes: Mapping[str, AttributeValue], names: Mapping[str, str]
) -> dict[str, AttributeValue]:
    """Return `attributes`, with the former names in addition.

    Args:
        attributes: Under the stable names.
        names: Stable name → former name: `SQL` or `REDIS`.
    """
    former = {
        names[key]: _former_value(names[key], value)
        for key, value in attributes.items()
        if key in names
    }
    return {**attributes, **former}


def _former_value(name: str, value: AttributeValue) -> AttributeValue:
    if name == "db.redis.database_index":
        return int(str(value))
    return _FORMER_SYSTEMS.get(value, value) if name == "db.system" else value
