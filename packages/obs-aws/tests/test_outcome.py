"""Which answers are errors, what of them is told, and what retries leave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    ParamValidationError,
)
from obs_aws import DEFAULT_EXPECTED, instrument_boto3
from obs_core.exceptions import ConfigurationError
from obs_core.integration import mark_worker_process
from obs_core.testing import SpanRecorder
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import StatusCode

from tests.services import free_port

from .conftest import MakeClient, exported


@pytest.mark.promise("AWS-06")
def test_a_failed_condition_is_an_answer(
    make_client: MakeClient, table: str, traced: SpanRecorder
) -> None:
    """ConditionalCheckFailed, alone or as the reason of a cancelled transaction, is no error; the code is told."""
    client = make_client("dynamodb")
    put = {
        "TableName": table,
        "Item": {"id": {"S": "1"}},
        "ConditionExpression": "attribute_not_exists(id)",
    }
    client.put_item(**put)
    with pytest.raises(client.exceptions.ConditionalCheckFailedException):
        client.put_item(**put)
    with pytest.raises(client.exceptions.TransactionCanceledException):
        client.transact_write_items(TransactItems=[{"Put": put}])
    _, failed = traced.named("DynamoDB.PutItem")
    for span, code in (
        (failed, "ConditionalCheckFailedException"),
        (traced.one("DynamoDB.TransactWriteItems"), "TransactionCanceledException"),
    ):
        assert span.status.status_code is StatusCode.UNSET
        assert "error.type" not in (span.attributes or {})
        assert (span.attributes or {})["db.response.status_code"] == code
        assert (span.attributes or {})["http.response.status_code"] == 400
        assert span.events == ()


@pytest.mark.promise("AWS-06")
def test_a_transaction_cancelled_for_another_reason_is_an_error(
    make_stub: Any, traced: SpanRecorder
) -> None:
    """One unexpected reason is enough."""
    client, stubber = make_stub("dynamodb")
    reasons = [
        {"Code": "None"},
        {"Code": "ConditionalCheckFailed"},
        {"Code": "TransactionConflict"},
    ]
    stubber.add_client_error(
        "transact_write_items",
        "TransactionCanceledException",
        "",
        400,
        modeled_fields={"CancellationReasons": reasons},
    )
    with pytest.raises(ClientError):
        client.transact_write_items(
            TransactItems=[{"Put": {"TableName": "orders", "Item": {}}}]
        )
    assert (
        traced.one("DynamoDB.TransactWriteItems").status.status_code is StatusCode.ERROR
    )


@pytest.mark.promise("AWS-06")
def test_s3_head_and_not_modified(
    make_client: MakeClient, name: str, traced: SpanRecorder
) -> None:
    """404 on Head and 304 are answers; 404 on Get is an error with its code."""
    s3 = make_client("s3")
    s3.create_bucket(Bucket=name)
    etag = s3.put_object(Bucket=name, Key="k", Body=b"x")["ETag"]
    for call, params in [
        (s3.head_object, {"Bucket": name, "Key": "gone"}),
        (s3.head_bucket, {"Bucket": name + "-gone"}),
        (s3.head_object, {"Bucket": name, "Key": "k", "IfNoneMatch": etag}),
        (s3.get_object, {"Bucket": name, "Key": "k", "IfNoneMatch": etag}),
        (s3.get_object, {"Bucket": name, "Key": "gone"}),
    ]:
        with pytest.raises(ClientError):
            call(**params)
    answers = [
        (span.status.status_code.name, span.attributes or {})
        for span in traced
        if "Head" in span.name or "Get" in span.name
    ]
    told = [
        (status, attributes["http.response.status_code"], attributes.get("error.type"))
        for status, attributes in answers
    ]
    assert told == [
        ("UNSET", 404, None),
        ("UNSET", 404, None),
        ("UNSET", 304, None),
        ("UNSET", 304, None),
        ("ERROR", 404, "NoSuchKey"),
    ]


@pytest.mark.promise("AWS-06")
def test_expected_errors_are_configurable(
    make_client: MakeClient, spans: SpanRecorder, table: str, name: str
) -> None:
    """The given list replaces the default one, which can be part of it."""
    handle = instrument_boto3(
        expected=[*DEFAULT_EXPECTED, "DynamoDB.Get*:ResourceNotFoundException"]
    )
    client = make_client("dynamodb")
    for call in (client.get_item, client.delete_item):
        with pytest.raises(ClientError):
            call(TableName=name + "-gone", Key={"id": {"S": "1"}})
    handle.uninstrument()
    told = [
        span.status.status_code.name
        for span in spans
        if span.name.endswith("tItem") or span.name.endswith("eteItem")
    ]
    assert told == ["UNSET", "ERROR"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"expected": ["Throttling"]},
        {"expected": "SQS.*:QueueDoesNotExist"},
        {"expected": None},
        {"propagator": "b3"},
        {"roots": "never"},
        {"capture_s3_keys": "yes"},
        {"include_broker": None},
        {"include_empty_polls": None},
        {"on_start": "print"},
        {"on_end": {}},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_bad_options_are_refused_at_once(wrong: dict[str, Any]) -> None:
    """The message names the option, its value, and the fix."""
    ((name, value),) = wrong.items()
    with pytest.raises(ConfigurationError) as refused:
        instrument_boto3(**wrong)
    assert str(refused.value).startswith(f"{name}={value!r} is not valid: ")


@pytest.mark.promise("AWS-06", "AWS-02")
def test_an_error_tells_its_code_and_not_its_message(
    make_stub: Any, traced: SpanRecorder
) -> None:
    """Everything else from 400 on is ERROR with the code as type and description: AWS quotes values in its messages."""
    client, stubber = make_stub("dynamodb")
    stubber.add_client_error(
        "put_item",
        "ValidationException",
        "The value item-secret cannot be converted",
        400,
    )
    with pytest.raises(ClientError):
        client.put_item(TableName="orders", Item={"id": {"N": "item-secret"}})
    span = traced.one("DynamoDB.PutItem")
    assert (span.status.status_code, span.status.description) == (
        StatusCode.ERROR,
        "ValidationException",
    )
    assert (span.attributes or {})["error.type"] == "ValidationException"
    assert "item-secret" not in exported(traced)


@pytest.mark.promise("AWS-06", "AWS-07")
def test_messages_on_request_are_scrubbed(make_stub: Any, spans: SpanRecorder) -> None:
    """With `capture_error_messages=True` AWS's words are told, without what it quotes of credentials."""
    handle = instrument_boto3(capture_error_messages=True)
    client, stubber = make_stub("s3")
    text = "not a valid key=value pair in 'AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/x, Signature=abcdef0123'"
    stubber.add_client_error("get_object", "IncompleteSignature", text, 403)
    with pytest.raises(ClientError):
        client.get_object(Bucket="b", Key="k")
    handle.uninstrument()
    described = spans.one("S3.GetObject").status.description or ""
    assert "not a valid key=value pair" in described
    assert "AKIAIOSFODNN7EXAMPLE" not in described
    assert "abcdef0123" not in described


@pytest.mark.promise("AWS-06", "AWS-07")
def test_a_call_that_never_reaches_aws(
    make_client: MakeClient, traced: SpanRecorder
) -> None:
    """A refused connection and invalid parameters are ERROR with the class of the exception, without its message."""
    s3 = make_client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{free_port()}",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(EndpointConnectionError):
        s3.get_object(Bucket="b", Key="key-secret")
    with pytest.raises(ParamValidationError):
        make_client("dynamodb").put_item(TableName="orders", Item={"id": "item-secret"})
    assert [(span.attributes or {})["error.type"] for span in traced] == [
        "botocore.exceptions.EndpointConnectionError",
        "botocore.exceptions.ParamValidationError",
    ]
    assert {span.status.status_code for span in traced} == {StatusCode.ERROR}
    assert "-secret" not in exported(traced)


@pytest.fixture
def throttling_url() -> Iterator[str]:
    """A DynamoDB that throttles twice and then answers."""
    left = [
        ("ProvisionedThroughputExceededException", 400),
        ("InternalServerError", 500),
    ]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            code, status = left.pop(0) if left else ("", 200)
            body = b'{"__type": "com.amazonaws#%s"}' % code.encode() if code else b"{}"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("x-amz-crc32", str(__import__("zlib").crc32(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}
    )
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.promise("AWS-02")
@pytest.mark.parametrize("mode", ["legacy", "standard"])
def test_retries_and_throttles_are_visible(
    make_client: MakeClient, traced: SpanRecorder, throttling_url: str, mode: str
) -> None:
    """One span for the call, an event for each attempt that failed, and how often it was sent again."""
    config = Config(retries={"mode": mode, "max_attempts": 4})
    client = make_client("dynamodb", endpoint_url=throttling_url, config=config)
    client.get_item(TableName="orders", Key={"id": {"S": "1"}})
    client.close()
    span = traced.one("DynamoDB.GetItem")
    assert span.status.status_code is StatusCode.UNSET
    assert (span.attributes or {})["http.request.resend_count"] == 2
    assert [(event.name, dict(event.attributes or {})) for event in span.events] == [
        (
            "aws.attempt_failed",
            {
                "aws.attempt": 1,
                "error.type": "ProvisionedThroughputExceededException",
                "aws.throttled": True,
            },
        ),
        (
            "aws.attempt_failed",
            {
                "aws.attempt": 2,
                "error.type": "InternalServerError",
                "aws.throttled": False,
            },
        ),
    ]


@pytest.mark.promise("AWS-08")
def test_raising_hooks_never_reach_the_application(
    make_client: MakeClient, spans: SpanRecorder, table: str, caplog: Any
) -> None:
    """Both hooks raise on every call: the application sees its answers and its errors, the log one line each."""

    def raising(*_: Any) -> None:
        raise RuntimeError("hook")

    handle = instrument_boto3(on_start=raising, on_end=raising)
    client = make_client("dynamodb")
    assert client.describe_table(TableName=table)["Table"]["TableName"] == table
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_table(TableName=table + "-gone")
    handle.uninstrument()
    assert len(spans.named("DynamoDB.DescribeTable")) == 2


@pytest.mark.promise("AWS-08")
def test_hooks_see_request_and_response(
    make_client: MakeClient, spans: SpanRecorder, table: str
) -> None:
    """They get the span, the service, the operation and the parameters, then the answer or AWS's error response."""
    seen: list[Any] = []
    handle = instrument_boto3(
        on_start=lambda span, service, operation, params: seen.append(
            (span.is_recording(), service, operation, dict(params))
        ),
        on_end=lambda span, service, operation, response: seen.append(
            response.get("Error", {}).get("Code")
        ),
    )
    client = make_client("dynamodb")
    client.describe_table(TableName=table)
    with pytest.raises(ClientError):
        client.describe_table(TableName="gone")
    handle.uninstrument()
    assert seen[0] == (True, "dynamodb", "DescribeTable", {"TableName": table})
    assert (seen[1], seen[3]) == (None, "ResourceNotFoundException")


def test_roots(make_client: MakeClient, spans: SpanRecorder, table: str) -> None:
    """A call outside any span is one in a script and none in a queue worker's process, unless the options say otherwise."""
    client, counts = make_client("dynamodb"), []
    mark_worker_process()
    try:
        for roots in ("auto", True, False):
            handle = instrument_boto3(roots=roots)  # type: ignore[arg-type]
            client.describe_table(TableName=table)
            handle.uninstrument()
            counts.append(len(spans))
        handle = instrument_boto3()
        with trace.get_tracer("test").start_as_current_span("task"):
            client.describe_table(TableName=table)
        handle.uninstrument()
    finally:
        mark_worker_process(False)
    assert counts == [0, 1, 1]
    assert len(spans) == 3


def test_suppressed_calls_make_no_span(
    make_client: MakeClient, traced: SpanRecorder, table: str
) -> None:
    """Under `suppress_instrumentation` nothing is told."""
    client = make_client("dynamodb")
    client.describe_table(TableName=table)
    traced.clear()
    with (
        trace.get_tracer("test").start_as_current_span("own"),
        suppress_instrumentation(),
    ):
        client.describe_table(TableName=table)
    assert [(span.name, span.attributes) for span in traced] == [("own", {})]


def test_the_transport_makes_no_spans_of_its_own(
    make_client: MakeClient, traced: SpanRecorder, table: str
) -> None:
    """An instrumented HTTP library knows, while a call runs, that it is told already."""
    from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled

    seen: list[bool] = []
    client = make_client("dynamodb")
    client.meta.events.register(
        "before-send", lambda **_: seen.append(is_http_instrumentation_enabled())
    )
    client.describe_table(TableName=table)
    assert seen == [False]
    assert is_http_instrumentation_enabled()
