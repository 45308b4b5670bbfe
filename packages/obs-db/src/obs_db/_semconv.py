"""Former attribute names, in addition to the stable names of OpenTelemetry's database conventions.

With ``OTEL_SEMCONV_STABILITY_OPT_IN=database/dup`` the former names are recorded too, for older dashboards:
https://opentelemetry.io/docs/specs/semconv/non-normative/db-migration/.
"""

from __future__ import annotations

from obs_core.integration import FormerNames
from opentelemetry.util.types import AttributeValue

_FORMER_SYSTEMS = {"microsoft.sql_server": "mssql", "oracle.db": "oracle"}
_OPT_IN = "database/dup"
_ANY = {
    "db.system.name": "db.system",
    "db.operation.name": "db.operation",
    "db.query.text": "db.statement",
    "server.address": "net.peer.name",
    "server.port": "net.peer.port",
}


def _former_system(name: str) -> AttributeValue:
    return _FORMER_SYSTEMS.get(name, name)


SQL = FormerNames(
    _OPT_IN,
    {**_ANY, "db.namespace": "db.name", "db.collection.name": "db.sql.table"},
    {"db.system": _former_system},
)
REDIS = FormerNames(
    _OPT_IN,
    {
        **_ANY,
        "db.namespace": "db.redis.database_index",
        "db.operation.batch.size": "db.redis.pipeline_length",
    },
    {"db.redis.database_index": int},
)
