"""The outcome of an RPC: status codes, and which codes are errors on which side."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from grpc import StatusCode
from obs_core.integration import fail, record_error
from opentelemetry.trace import Span

#: The codes that the specification calls failures of a server; other codes are mistakes of the client.
SERVER_ERRORS = frozenset(
    {
        StatusCode.UNKNOWN,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.UNIMPLEMENTED,
        StatusCode.INTERNAL,
        StatusCode.UNAVAILABLE,
        StatusCode.DATA_LOSS,
    }
)
CLIENT_ERRORS = frozenset(StatusCode) - {StatusCode.OK}
_BY_NUMBER: Mapping[object, StatusCode] = {code.value[0]: code for code in StatusCode}


def as_status_code(code: object) -> StatusCode:
    """Return the StatusCode of `code`: a StatusCode, a number (older grpc.aio), or None for OK."""
    if isinstance(code, StatusCode):
        return code
    if code is None:
        return StatusCode.OK
    return _BY_NUMBER.get(code, StatusCode.UNKNOWN)


def record_outcome(
    span: Span,
    errors: Collection[StatusCode],
    code: StatusCode | None,
    details: str | None,
    error: BaseException | None,
) -> None:
    """Set the status of `span`, and record `error`; `errors` are the codes that are errors on this side.

    For `code`, `details` and `error` see `Rpc.end`.
    """
    is_error = code in errors
    if error is None:
        if code is not None and is_error:
            fail(span, code.name, details or code.name)
    elif is_error or code is None:
        record_error(span, error)
    else:
        # a code that was set on purpose, and is no failure of this side, stays one
        span.record_exception(error)
