"""The outcome of a statement: rows, error code, and, if requested, parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from obs_core.integration import redactor, truncate
from opentelemetry.util.types import AttributeValue

# drivers not listed say -1 or 0 until rows are fetched
_KNOWS_RESULT_ROWS = frozenset({"postgresql", "mysql", "mariadb"})
# MySQL's drivers say 2**64 - 1 for -1
_MAX_ROWS = 2**63 - 1
_MAX_PARAMETER_BYTES = 256
_MAX_PARAMETERS = 64
# SQLAlchemy names a parameter after the column, followed by one or two numbers
_BIND_NUMBER = re.compile(r"(?:_\d+)+$")


def row_attributes(dialect: str, cursor: Any) -> dict[str, AttributeValue]:
    """Return the number of rows changed, or of rows that a query returns, where the driver knows the number."""
    rows = getattr(cursor, "rowcount", -1)
    if isinstance(rows, int) and 0 <= rows <= _MAX_ROWS:
        if cursor.description is None:
            return {"obs.db.affected_rows": rows}
        if dialect in _KNOWS_RESULT_ROWS:
            return {"db.response.returned_rows": rows}
    return {}


def error_code(error: BaseException) -> str | None:
    """Return the database's code for the error: MySQL's number, the SQLSTATE, or SQLite's name."""
    first = next(iter(error.args), None)
    if type(first) is int:
        return str(first)
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        code = getattr(error, name, None)
        if isinstance(code, str) and code:
            return truncate(code, 64)
    return None


def parameter_attributes(context: Any, parameters: Any) -> dict[str, AttributeValue]:
    """Return ``db.query.parameter.<key>`` of the first 64 named parameters.

    A positional parameter's key is the index; SQLAlchemy's name for the parameter tells whether the
    value is a secret. Parameters of the driver's own SQL (``exec_driver_sql``) have no name and are
    left out.
    """
    if isinstance(parameters, Mapping):
        named = [(str(name), str(name), value) for name, value in parameters.items()]
    else:
        named = _positional(context, parameters)
    return {
        f"db.query.parameter.{key}": _shown(name, value)
        for key, name, value in named[:_MAX_PARAMETERS]
    }


def _positional(context: Any, parameters: Any) -> list[tuple[str, str, object]]:
    """Return key, name and value of each parameter; nothing where the names are not known."""
    names = _positional_names(context)
    if len(names) != len(parameters):
        return []
    pairs = zip(names, parameters, strict=True)
    return [(str(index), name, value) for index, (name, value) in enumerate(pairs)]


def _shown(name: str, value: object) -> str:
    column = _BIND_NUMBER.sub("", name)
    secrets = redactor()
    shown = secrets.value(name, secrets.value(column, value))
    return truncate(str(shown), _MAX_PARAMETER_BYTES)


def _positional_names(context: Any) -> list[str]:
    """Return the names of positional parameters; each value of an ``IN`` list has a name of its own."""
    compiled = context.compiled
    if not getattr(compiled, "positiontup", None):
        return []
    lists: Mapping[str, Iterable[str]] = (
        getattr(context, "_expanded_parameters", None) or {}
    )
    literal = {
        compiled.bind_names[parameter] for parameter in compiled.literal_execute_params
    }
    kept = [name for name in compiled.positiontup if name not in literal]
    if context.dialect.paramstyle.startswith("numeric"):  # numbers a list's values last
        kept.sort(key=lists.__contains__)
    return [each for name in kept for each in lists.get(name, (name,))]
