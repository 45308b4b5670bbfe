"""What came of a call: the answer's attributes, and which failures are errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from obs_core.integration import call_contained, error_message, error_type, fail, is_suppressed
from opentelemetry.trace import Span, get_current_span
from opentelemetry.util.types import AttributeValue

from obs_aws._options import Options
from obs_aws._scrub import scrub

#: botocore's own list is private to its retry modes: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
THROTTLES = frozenset(
    {
        "BandwidthLimitExceeded", "EC2ThrottledException", "LimitExceededException", "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException",
        "SlowDown", "ThrottledException", "Throttling", "ThrottlingException", "TooManyRequestsException",
        "TransactionInProgressException",
    }
)  # fmt: skip


def record_answer(span: Span, response: Mapping[str, Any]) -> None:
    """Record the request id and HTTP status of AWS's answer, good or bad."""
    metadata = response.get("ResponseMetadata")
    if not metadata:
        return
    attributes: dict[str, AttributeValue] = {}
    if status := metadata.get("HTTPStatusCode"):
        attributes["http.response.status_code"] = status
    if request_id := metadata.get("RequestId"):
        attributes["aws.request_id"] = request_id
    if extended_id := metadata.get("HostId"):
        attributes["aws.extended_request_id"] = extended_id
    span.set_attributes(attributes)


def record_failure(span: Span, error: BaseException, *, operation: str, options: Options) -> None:
    """Record `error` of ``Service.Operation``: an answer of AWS by its code, everything else by its class.

    AWS quotes keys and item values in its messages, so they are recorded only where the options say so, and then scrubbed;
    the exception itself goes on to the caller, whose own span may record it.
    """
    code, status = error_code(error), 0
    if code is not None:
        response: Mapping[str, Any] = error.response  # type: ignore[attr-defined]
        record_answer(span, response)
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if operation.startswith("DynamoDB."):
            span.set_attribute("db.response.status_code", code)
        if 0 < status < 400 or _is_expected(operation, code, response, options):
            return
    kind = code or error_type(error)
    fail(span, kind, scrub(error_message(error)) if options.error_messages else kind)


def error_code(error: BaseException) -> str | None:
    """Return AWS's code of a ``ClientError``; None for every other error."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, Mapping) else None
    return str(code) if code else None


def _is_expected(operation: str, code: str, response: Mapping[str, Any], options: Options) -> bool:
    if options.expects(f"{operation}:{code}"):
        return True
    # a transaction's own code says nothing: it is as expected as the conditions that cancelled it
    reasons = {reason.get("Code", "None") for reason in response.get("CancellationReasons", ())} - {
        "None"
    }
    return bool(reasons) and all(
        options.expects(f"{operation}:{_exception(reason)}") for reason in reasons
    )


def _exception(reason: str) -> str:
    return "ConditionalCheckFailedException" if reason == "ConditionalCheckFailed" else reason


def on_needs_retry(
    attempts: int, response: Any = None, caught_exception: Any = None, **_: Any
) -> None:
    """Tell of an attempt, on the current span: a handler of botocore's event ``needs-retry``, sent after each attempt."""
    span = get_current_span()
    if span.is_recording() and not is_suppressed():
        call_contained("AWS attempts", _record_attempt, span, attempts, response, caught_exception)


def _record_attempt(span: Span, attempt: int, response: Any, error: BaseException | None) -> None:
    if attempt > 1:
        span.set_attribute("http.request.resend_count", attempt - 1)
    parsed: Mapping[str, Any] = response[1] if response else {}
    status = parsed.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = parsed.get("Error", {}).get("Code") if status >= 300 else None
    failure = error_type(error) if error else code
    if failure and (error or status >= 500 or status == 429 or failure in THROTTLES):
        throttled = failure in THROTTLES or status == 429
        span.add_event(
            "aws.attempt_failed",
            {"aws.attempt": attempt, "error.type": failure, "aws.throttled": throttled},
        )
