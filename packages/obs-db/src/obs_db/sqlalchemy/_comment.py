"""Fields for the database in a comment of the statement: https://google.github.io/sqlcommenter/spec/."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from opentelemetry import trace

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_TRACE_ALONE = {"db_driver": False, "db_framework": False}


def add_comment(
    statement: str,
    connection: Connection | None = None,
    chosen: Mapping[str, bool] | None = None,
) -> str:
    """Append the chosen fields to `statement` as a comment, by default the current span's ``traceparent`` alone.

    Without a field, or beside another comment, return `statement` unchanged. The comment has no ``%``,
    ``?``, ``:`` or ``$``: in no paramstyle does the comment hold a placeholder.

    Args:
        statement: The text for the database.
        connection: Of SQLAlchemy; needed for other fields than ``traceparent``.
        chosen: Which of contrib's fields to send; one that is not named is sent. None: ``traceparent``.
    """
    if "/*" in statement:
        return statement
    names = _TRACE_ALONE if chosen is None or connection is None else chosen
    comment = ",".join(
        f"{name}='{value}'" for name, value in _fields(names, connection)
    )
    return _appended(statement, f"/*{comment}*/") if comment else statement


def _fields(
    chosen: Mapping[str, bool], connection: Connection | None
) -> Iterator[tuple[str, str]]:
    """Yield the fields in the order of their names."""
    if connection is not None and chosen.get("db_driver", True):
        yield "db_driver", _plain(connection.engine.driver)
    if connection is not None and chosen.get("db_framework", True):
        import sqlalchemy

        yield "db_framework", _plain(f"sqlalchemy-{sqlalchemy.__version__}")
    context = trace.get_current_span().get_span_context()
    if context.is_valid and chosen.get("opentelemetry_values", True):
        ids = f"{context.trace_id:032x}-{context.span_id:016x}"
        yield "traceparent", f"00-{ids}-{int(context.trace_flags):02x}"


def _plain(value: str) -> str:
    """Return `value` without what would have to be encoded, which takes a percent sign."""
    return re.sub(r"[^\w.+-]", "", value, flags=re.ASCII)


def _appended(statement: str, comment: str) -> str:
    stripped = statement.rstrip()
    body = stripped.removesuffix(";")
    end = stripped[len(body) :]
    body = body.rstrip()
    last_line = body.rpartition("\n")[2]
    # a comment behind `--` would be part of that comment
    gap = "\n" if "--" in last_line else " "
    return f"{body}{gap}{comment}{end}"
