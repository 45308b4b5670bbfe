"""The trace, told to the database in a comment: https://google.github.io/sqlcommenter/spec/."""

from __future__ import annotations

from opentelemetry import trace


def add_comment(statement: str) -> str:
    """Append the current span's ``traceparent`` to `statement` as a comment.

    Without a span, or beside another comment, return `statement` unchanged. The comment has no ``%``,
    ``?``, ``:`` or ``$``: in no paramstyle does the comment hold a placeholder.
    """
    context = trace.get_current_span().get_span_context()
    if not context.is_valid or "/*" in statement:
        return statement
    stripped = statement.rstrip()
    body = stripped.removesuffix(";")
    end = stripped[len(body) :]
    body = body.rstrip()
    last_line = body.rpartition("\n")[2]
    # a comment behind `--` would be part of that comment
    gap = "\n" if "--" in last_line else " "
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    return f"{body}{gap}/*traceparent='{parent}'*/{end}"
