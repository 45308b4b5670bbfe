"""How a statement went: rows, batch, error code, and, where the user wants them, parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from obs_core.integration import redactor, truncate
from opentelemetry.util.types import AttributeValue

# other drivers say -1 or 0 until rows are fetched
_KNOWS_RESULT_ROWS = frozenset({"postgresql", "mysql", "mariadb"})
_MAX_PARAMETER_BYTES = 256
_MAX_PARAMETERS = 64


def row_attributes(dialect: str, cursor: Any) -> dict[str, AttributeValue]:
    """Return how many rows came back or were changed, where the driver knows."""
    rows = getattr(cursor, "rowcount", -1)
    if isinstance(rows, int) and rows >= 0:
        if cursor.description is None:
            return {"obs.db.affected_rows": rows}
        if dialect in _KNOWS_RESULT_ROWS:
            return {"db.response.returned_rows": rows}
    return {}


def batch_attributes(context: Any, parameters: Any) -> dict[str, AttributeValue]:
    """Return how many rows were sent in a batch, if more than one."""
    size = _batch_size(context, parameters) if parameters else 0
    return {"db.operation.batch.size": size} if size > 1 else {}


def _batch_size(context: Any, parameters: Any) -> int:
    if isinstance(parameters, list):
        return len(parameters)
    # SQLAlchemy 2's "insertmanyvalues": many rows in one flat set of parameters
    one = context.parameters[0] if context.parameters else ()
    return len(parameters) // len(one) if one else 1


def error_code(error: BaseException) -> str | None:
    """Return what the database calls the error: its SQLSTATE, SQLite's name, or the driver's number."""
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        code = getattr(error, name, None)
        if isinstance(code, str) and code:
            return truncate(code, 64)
    first = error.args[0] if error.args else None
    return str(first) if type(first) is int else None


def parameter_attributes(parameters: Any) -> dict[str, AttributeValue]:
    """Return ``db.query.parameter.<key>`` of the first 64 parameters; nothing of a batch."""
    if isinstance(parameters, Mapping):
        pairs = [(str(key), value) for key, value in parameters.items()]
    elif isinstance(parameters, tuple):
        pairs = [(str(index), value) for index, value in enumerate(parameters)]
    else:
        return {}
    secrets = redactor()
    return {
        f"db.query.parameter.{key}": truncate(str(secrets.value(key, value)), _MAX_PARAMETER_BYTES)
        for key, value in pairs[:_MAX_PARAMETERS]
    }
