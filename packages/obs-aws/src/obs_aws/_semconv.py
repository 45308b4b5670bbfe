"""The former names of DynamoDB's attributes, from before the database conventions were stable.

https://opentelemetry.io/docs/specs/semconv/non-normative/db-migration/
"""

from obs_core.integration import FormerNames

FORMER_NAMES = FormerNames(
    "database/dup",
    {
        "db.system.name": "db.system",
        "db.operation.name": "db.operation",
        "server.address": "net.peer.name",
        "server.port": "net.peer.port",
    },
    {"db.system": lambda _: "dynamodb"},
)
