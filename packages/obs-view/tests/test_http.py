"""OTLP/HTTP: what is accepted, and the right error for what is not."""

from __future__ import annotations

import gzip
import json
import socket

import httpx
import pytest
from obs_view import Receiver
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

PROTOBUF = {"Content-Type": "application/x-protobuf"}
GZIP = {**PROTOBUF, "Content-Encoding": "gzip"}
JSON = {"Content-Type": "application/json"}
TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"


def document(*spans: dict[str, object]) -> dict[str, object]:
    """An OTLP-JSON request of service ``shop``."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}


def a_span(**fields: object) -> dict[str, object]:
    """One span in OTLP-JSON."""
    times = {"startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000"}
    return {"traceId": TRACE, "spanId": SPAN, "name": "buy", "kind": 2, **times, **fields}


def protobuf(*ids: tuple[bytes, bytes]) -> bytes:
    """An OTLP protobuf request with a span for each pair of trace id and span id."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for trace_id, span_id in ids:
        spans.add(
            trace_id=trace_id,
            span_id=span_id,
            name="buy",
            start_time_unix_nano=1,
            end_time_unix_nano=2,
        )
    return request.SerializeToString()


GOOD = protobuf((b"t" * 16, b"s" * 8))


def post(receiver: Receiver, content: bytes, headers: dict[str, str]) -> httpx.Response:
    return httpx.post(
        receiver.http_url + "/v1/traces",
        content=content,
        headers=headers,
        timeout=30,
        trust_env=False,
    )


def status_text(answer: httpx.Response) -> str:
    """The message of the ``google.rpc.Status`` in a protobuf answer, and that it is one."""
    body = answer.content
    assert (answer.headers["content-type"], body[0:1], body[2:3]) == (
        "application/x-protobuf",
        b"\x08",
        b"\x12",
    )
    length, text = (
        (body[3], body[4:]) if body[3] < 128 else (body[3] - 128 + (body[4] << 7), body[5:])
    )
    assert len(text) == length
    return text.decode()


@pytest.mark.promise("VIEW-01")
@pytest.mark.parametrize("compressed", [False, True])
def test_json_as_the_specification_has_it(receiver: Receiver, compressed: bool) -> None:
    """Hex ids, int64 as strings, enums as numbers, unknown fields: the trace is whole and the answer is JSON."""
    link = {
        "traceId": TRACE,
        "spanId": "00f067aa0ba902b7",
        "attributes": [{"key": "n", "value": {"intValue": "7"}}],
    }
    body = json.dumps(document(a_span(links=[link], parentSpanId="", futureField=1))).encode()
    headers = (
        {**JSON, "Content-Encoding": "gzip"}
        if compressed
        else {"Content-Type": "application/json; charset=utf-8"}
    )
    answer = post(receiver, gzip.compress(body) if compressed else body, headers)
    assert (answer.status_code, answer.json(), answer.headers["content-type"]) == (
        200,
        {},
        "application/json",
    )
    (trace,) = receiver.traces()
    (span,) = trace.spans
    assert (trace.trace_id, span.span_id, span.parent_id, span.kind, span.service) == (
        TRACE,
        SPAN,
        "",
        "SERVER",
        "shop",
    )
    assert (span.start_time, span.duration) == (1544712660000000000, 10**9)
    assert [(item.trace_id, item.span_id, item.attributes) for item in span.links] == [
        (TRACE, "00f067aa0ba902b7", {"n": 7})
    ]


@pytest.mark.promise("VIEW-06")
@pytest.mark.parametrize(
    ("content", "headers", "status", "text"),
    [
        pytest.param(
            GOOD[:-3], PROTOBUF, 400, "no ExportTraceServiceRequest", id="truncated protobuf"
        ),
        pytest.param(b"\xff" * 64, PROTOBUF, 400, "no ExportTraceServiceRequest", id="no protobuf"),
        pytest.param(GOOD, {}, 415, "content type '' is not OTLP", id="no content type"),
        pytest.param(
            GOOD,
            {"Content-Type": "text/plain"},
            415,
            "'text/plain' is not OTLP",
            id="wrong content type",
        ),
        pytest.param(
            GOOD,
            {**PROTOBUF, "Content-Encoding": "br"},
            415,
            "'br' is not supported",
            id="unknown encoding",
        ),
        pytest.param(GOOD, GZIP, 400, "not gzip", id="not gzip"),
        pytest.param(
            gzip.compress(GOOD)[:-9],
            GZIP,
            400,
            "gzip body is truncated",
            id="truncated gzip",
        ),
        pytest.param(b"\0" * 50_000_000, PROTOBUF, 413, "more than 20971520 bytes", id="50 MB"),
        pytest.param(
            gzip.compress(b"\0" * 50_000_000),
            GZIP,
            413,
            "when decompressed",
            id="gzip bomb",
        ),
    ],
)
def test_bad_requests_get_the_right_error(
    receiver: Receiver, content: bytes, headers: dict[str, str], status: int, text: str
) -> None:
    """The status, a ``google.rpc.Status`` that says why, nothing stored, and the receiver goes on."""
    answer = post(receiver, content, headers)
    assert answer.status_code == status
    assert text in status_text(answer)
    assert receiver.traces() == []
    assert post(receiver, GOOD, PROTOBUF).status_code == 200
    assert len(receiver.traces()) == 1


@pytest.mark.promise("VIEW-06")
@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'{"resourceSpans": 1}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": ["x"]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": 5}]}]}]}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "\\ud800"}]}]}]}',
    ],
    ids=[
        "open",
        "list",
        "null",
        "number",
        "text span",
        "number id",
        "deep",
        "not utf-8",
        "surrogate",
    ],
)
def test_bad_json_is_answered_in_json(receiver: Receiver, body: bytes) -> None:
    """400 with code and message, and nothing of it breaks the receiver."""
    answer = post(receiver, body, JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert "not OTLP-JSON" in answer.json()["message"]
    assert post(receiver, GOOD, PROTOBUF).status_code == 200


@pytest.mark.promise("VIEW-06")
def test_invalid_ids_are_rejected_alone(receiver: Receiver) -> None:
    """Of a batch only the spans with invalid ids are rejected, and the sender is told how many."""
    body = protobuf(
        (b"t" * 16, b"s" * 8), (b"", b"s" * 8), (b"t" * 16, b"\0" * 8), (b"t" * 17, b"s" * 8)
    )
    answer = post(receiver, body, PROTOBUF)
    assert answer.status_code == 200
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (partial.rejected_spans, partial.error_message[:31]) == (
        3,
        "3 spans have an invalid trace i",
    )
    broken = a_span(spanId="xyz", name="broken")
    partial_json = post(receiver, json.dumps(document(broken, a_span())).encode(), JSON).json()[
        "partialSuccess"
    ]
    assert partial_json["rejectedSpans"] == "1"
    assert sorted(span.trace_id for trace in receiver.traces() for span in trace.spans) == [
        TRACE,
        (b"t" * 16).hex(),
    ]


@pytest.mark.promise("VIEW-06")
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:4318", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:4318", 200),
        ("shop.localhost:80", 200),
        ("host.docker.internal:4318", 200),
        ("evil.example", 403),
        ("evil.example:4318", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("", 403),
    ],
)
def test_foreign_host_names_are_refused(receiver: Receiver, host: str, status: int) -> None:
    """A page whose name was re-bound to 127.0.0.1 gets nowhere."""
    assert post(receiver, GOOD, {**PROTOBUF, "Host": host}).status_code == status


def test_more_host_names_can_be_allowed() -> None:
    """`allowed_hosts` lets a name through, as of a container."""
    with Receiver(0, 0, allowed_hosts=["Traces"]) as receiver:
        assert post(receiver, GOOD, {**PROTOBUF, "Host": "traces:4318"}).status_code == 200


def test_metrics_and_logs_are_taken_in_silence(receiver: Receiver) -> None:
    """A service that exports all signals to one endpoint sees no errors; what is no OTLP path is 404, a GET 405."""
    for path in ("/v1/metrics", "/v1/logs"):
        answer = httpx.post(
            receiver.http_url + path, content=b"x", headers=PROTOBUF, trust_env=False
        )
        assert (answer.status_code, answer.content) == (200, b"")
    assert httpx.get(receiver.http_url + "/v1/other", trust_env=False).status_code == 404
    assert httpx.get(receiver.http_url + "/v1/traces", trust_env=False).status_code == 405


@pytest.mark.promise("VIEW-06")
def test_a_half_sent_request_holds_nothing_up(receiver: Receiver) -> None:
    """A client that dies or dawdles in the middle of its body is no one else's trouble."""
    with socket.create_connection(("127.0.0.1", receiver.port)) as half:
        half.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"
        )
        assert post(receiver, GOOD, PROTOBUF).status_code == 200
    assert post(receiver, GOOD, PROTOBUF).status_code == 200
