"""The outcome of a call or of a single attempt: status and ``error.type``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from obs_core.integration import (
    call_contained,
    error_message,
    error_type,
    fail,
    is_suppressed,
)
from opentelemetry.trace import Span, get_current_span

from obs_aws._attributes import response_attributes
from obs_aws._options import Options
from obs_aws._scrub import scrub

#: botocore's list is private to the retry modes: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
THROTTLES = frozenset(
    {
        "BandwidthLimitExceeded", "EC2ThrottledException", "LimitExceededException", "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException",
        "SlowDown", "ThrottledException", "Throttling", "ThrottlingException", "TooManyRequestsException",
        "TransactionInProgressException",
    }
)  # fmt: skip
#: The reasons of a cancelled transaction whose exception has another name.
_EXCEPTIONS = {"ConditionalCheckFailed": "ConditionalCheckFailedException"}


def record_failure(
    span: Span, error: BaseException, *, operation: str, options: Options
) -> bool:
    """Record `error` of ``Service.Operation``: by AWS's error code, or by the class of the exception.

    Returns whether it is a failure, and no answer that is expected.

    AWS quotes keys and item values in error messages: a message is recorded on request only, scrubbed.
    The exception goes on to the caller unchanged.
    """
    code = error_code(error)
    if code is not None:
        response: Mapping[str, Any] = error.response  # type: ignore[attr-defined]
        span.set_attributes(response_attributes(response))
        if operation.startswith("DynamoDB."):
            span.set_attribute("db.response.status_code", code)
        if _is_answer(response) or _is_expected(operation, code, response, options):
            return False
    kind = code or error_type(error)
    fail(
        span,
        kind,
        scrub(error_message(error)) if options.capture_error_messages else kind,
    )
    return True


def error_code(error: BaseException) -> str | None:
    """Return AWS's error code of a ``ClientError``; None for an exception of another kind."""
    response = getattr(error, "response", None)
    details = response.get("Error") if isinstance(response, Mapping) else None
    if not isinstance(details, Mapping) or not details.get("Code"):
        return None
    return str(details["Code"])


def _status(response: Mapping[str, Any]) -> int:
    status: int = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status


def _is_answer(response: Mapping[str, Any]) -> bool:
    """Whether botocore raised for a status below 400, for instance S3's 304."""
    return 0 < _status(response) < 400


def _is_expected(
    operation: str, code: str, response: Mapping[str, Any], options: Options
) -> bool:
    if options.expects(f"{operation}:{code}"):
        return True
    # the code of a cancelled transaction is always the same: the conditions that cancelled it decide
    codes = {
        reason.get("Code", "None") for reason in response.get("CancellationReasons", ())
    }
    reasons = codes - {"None"}
    return bool(reasons) and all(
        options.expects(f"{operation}:{_EXCEPTIONS.get(reason, reason)}")
        for reason in reasons
    )


def on_needs_retry(
    attempts: int, response: Any = None, caught_exception: Any = None, **_: Any
) -> None:
    """Record an attempt on the current span: a handler of botocore's event ``needs-retry``, sent after each attempt."""
    span = get_current_span()
    if span.is_recording() and not is_suppressed():
        call_contained(
            "AWS attempts", _record_attempt, span, attempts, response, caught_exception
        )


def _record_attempt(
    span: Span, attempt: int, response: Any, error: BaseException | None
) -> None:
    if attempt > 1:
        span.set_attribute("http.request.resend_count", attempt - 1)
    parsed: Mapping[str, Any] = response[1] if response else {}
    status = _status(parsed)
    failure = ""
    if error:
        failure = error_type(error)
    elif status >= 300:
        failure = parsed.get("Error", {}).get("Code", "")
    throttled = failure in THROTTLES or status == 429
    # anything else, such as a failed validation, is never repeated
    if failure and (error or throttled or status >= 500):
        span.add_event(
            "aws.attempt_failed",
            {"aws.attempt": attempt, "error.type": failure, "aws.throttled": throttled},
        )
