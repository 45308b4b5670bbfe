"""OTLP/HTTP: what is accepted, and the right error for what is not."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Callable

import httpx
import pytest
from obs_view import Receiver
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

PROTOBUF = {"Content-Type": "application/x-protobuf"}
GZIP = {**PROTOBUF, "Content-Encoding": "gzip"}
DEFLATE = {**PROTOBUF, "Content-Encoding": "deflate"}
JSON = {"Content-Type": "application/json"}
TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"


def document(*spans: dict[str, object]) -> dict[str, object]:
    """An OTLP-JSON request of service ``shop``."""
    resource = {
        "attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]
    }
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}


def a_span(**fields: object) -> dict[str, object]:
    """One span in OTLP-JSON."""
    times = {
        "startTimeUnixNano": "1544712660000000000",
        "endTimeUnixNano": "1544712661000000000",
    }
    return {
        "traceId": TRACE,
        "spanId": SPAN,
        "name": "buy",
        "kind": 2,
        **times,
        **fields,
    }


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


def bare_deflate(content: bytes) -> bytes:
    """Compressed without zlib's header, which some send as deflate."""
    return zlib.compress(content)[2:-4]


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
        (body[3], body[4:])
        if body[3] < 128
        else (body[3] - 128 + (body[4] << 7), body[5:])
    )
    assert len(text) == length
    return text.decode()


@pytest.mark.promise("VIEW-01")
@pytest.mark.parametrize(
    "compress", [zlib.compress, bare_deflate], ids=["zlib", "bare"]
)
@pytest.mark.parametrize("encoding", ["deflate", "DEFLATE"])
@pytest.mark.parametrize("kind", [PROTOBUF, JSON], ids=["protobuf", "json"])
def test_deflate_is_accepted(
    receiver: Receiver,
    kind: dict[str, str],
    encoding: str,
    compress: Callable[[bytes], bytes],
) -> None:
    """As gzip is, for both formats: what the OTLP exporters of Python and of collectors send under that name."""
    body = GOOD if kind == PROTOBUF else json.dumps(document(a_span())).encode()
    assert (
        post(
            receiver, compress(body), {**kind, "Content-Encoding": encoding}
        ).status_code
        == 200
    )
    assert receiver.store.count == 1


@pytest.mark.promise("VIEW-01")
@pytest.mark.parametrize("compressed", [False, True])
def test_json_as_the_specification_has_it(receiver: Receiver, compressed: bool) -> None:
    """Hex ids, int64 as strings, enums as numbers, unknown fields: the trace is whole and the answer is JSON."""
    link = {
        "traceId": TRACE,
        "spanId": "00f067aa0ba902b7",
        "attributes": [{"key": "n", "value": {"intValue": "7"}}],
    }
    body = json.dumps(
        document(a_span(links=[link], parentSpanId="", futureField=1))
    ).encode()
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
            GOOD[:-3],
            PROTOBUF,
            400,
            "no ExportTraceServiceRequest",
            id="truncated protobuf",
        ),
        pytest.param(
            b"\xff" * 64,
            PROTOBUF,
            400,
            "no ExportTraceServiceRequest",
            id="no protobuf",
        ),
        pytest.param(
            GOOD, {}, 415, "content type '' is not OTLP", id="no content type"
        ),
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
        pytest.param(GOOD, DEFLATE, 400, "not deflate", id="not deflate"),
        pytest.param(
            zlib.compress(GOOD)[:-6],
            DEFLATE,
            400,
            "deflate body is truncated",
            id="truncated deflate",
        ),
        pytest.param(
            gzip.compress(GOOD)[:-9],
            GZIP,
            400,
            "gzip body is truncated",
            id="truncated gzip",
        ),
        pytest.param(
            b"\0" * 50_000_000, PROTOBUF, 413, "more than 20971520 bytes", id="50 MB"
        ),
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
        b"[" * 100_000,
        b"\xff\xfe",
    ],
    ids=[
        "open",
        "list",
        "null",
        "number",
        "deep",
        "not utf-8",
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
        (b"t" * 16, b"s" * 8),
        (b"", b"s" * 8),
        (b"t" * 16, b"\0" * 8),
        (b"t" * 17, b"s" * 8),
    )
    answer = post(receiver, body, PROTOBUF)
    assert answer.status_code == 200
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (partial.rejected_spans, partial.error_message[:31]) == (
        3,
        "3 spans without a valid trace i",
    )
    broken = a_span(spanId="xyz", name="broken")
    partial_json = post(
        receiver, json.dumps(document(broken, a_span())).encode(), JSON
    ).json()["partialSuccess"]
    assert partial_json["rejectedSpans"] == "1"
    assert sorted(
        span.trace_id for trace in receiver.traces() for span in trace.spans
    ) == [
        TRACE,
        (b"t" * 16).hex(),
    ]


def of_three(**second: object) -> bytes:
    """Three spans in OTLP-JSON; the second has the given fields."""
    spans = [a_span(spanId=f"{number:016x}", name=f"s{number}") for number in (1, 2, 3)]
    return json.dumps(document(spans[0], {**spans[1], **second}, spans[2])).encode()


def valued(value: object) -> dict[str, object]:
    """A span's attributes in OTLP-JSON, with one of that value."""
    return {"attributes": [{"key": "a", "value": value}]}


BAD_VALUES = {
    "a link that is null": {"links": [None]},
    "links that are no array": {"links": 5},
    "an integer beyond int64": valued({"intValue": 18446744073709552000}),
    "an integer of 1.5": valued({"intValue": 1.5}),
    "an integer of text": valued({"intValue": "many"}),
    "a NaN literal": valued({"doubleValue": float("nan")}),
    "half an emoji": valued({"stringValue": "cut \ud83d"}),
    "half an emoji as key": {
        "attributes": [{"key": "\ud83d", "value": {"stringValue": "x"}}]
    },
    "half an emoji as name": {"name": "\ud83d"},
    "a number as text": valued({"stringValue": 1}),
    "two values at once": valued({"stringValue": "x", "intValue": 1}),
    "bytes that are no base64": valued({"bytesValue": "\ud83d"}),
    "attributes that are no array": {"attributes": "x"},
    "a value 100 levels deep": valued(
        json.loads('{"arrayValue":{"values":[' * 100 + "]}}" * 100)
    ),
    "a negative time": {"endTimeUnixNano": -1},
    "a time beyond uint64": {"endTimeUnixNano": 2**70},
    "an endless kind": {"kind": float("inf")},
    "a status that is no object": {"status": 2},
    "a trace id that is null": {"traceId": None},
    "a span id that is null": {"spanId": None},
    "a trace id that is a number": {"traceId": 5},
    "a trace id that is half an emoji": {"traceId": "\ud83d" * 32},
}


@pytest.mark.promise("VIEW-11")
@pytest.mark.parametrize("fields", BAD_VALUES.values(), ids=BAD_VALUES)
def test_a_bad_value_in_json_costs_its_span_alone(
    receiver: Receiver, fields: dict[str, object]
) -> None:
    """The other spans of the request are kept; the answer counts the bad one and says what is wrong."""
    answer = post(receiver, of_three(**fields), JSON)
    assert answer.status_code == 200
    partial = answer.json()["partialSuccess"]
    assert partial["rejectedSpans"] == "1"
    assert partial["errorMessage"].startswith("1 span with")
    (trace,) = receiver.traces()
    assert [span.name for span in trace.spans] == ["s1", "s3"]


NULLS = {
    "a parent": {"parentSpanId": None},
    "links": {"links": None},
    "a link's span id": {"links": [{"traceId": TRACE, "spanId": None}]},
    "attributes": {"attributes": None},
    "a value": valued(None),
    "a number": valued({"intValue": None}),
    "a status": {"status": None},
    "a time": {"endTimeUnixNano": None},
}


@pytest.mark.promise("VIEW-11")
@pytest.mark.parametrize("fields", NULLS.values(), ids=NULLS)
def test_null_stands_for_nothing(receiver: Receiver, fields: dict[str, object]) -> None:
    """As everywhere in protobuf's JSON: no span is rejected for it."""
    answer = post(receiver, of_three(**fields), JSON)
    assert (answer.status_code, answer.json()) == (200, {})
    assert receiver.store.count == 3


GROUPS = {
    "a null group": (None, 0),
    "a group of text": ("x", 1),
    "scopes that are null": ({"scopeSpans": None}, 0),
    "scopes that are no array": ({"scopeSpans": 5}, 1),
    "a null scope": ({"scopeSpans": [None]}, 0),
    "a scope of text": ({"scopeSpans": ["x"]}, 1),
    "spans that are null": ({"scopeSpans": [{"spans": None}]}, 0),
    "a null span": ({"scopeSpans": [{"spans": [None]}]}, 0),
    "a span of text": ({"scopeSpans": [{"spans": ["x"]}]}, 1),
}


@pytest.mark.promise("VIEW-11")
@pytest.mark.parametrize(("group", "rejected"), GROUPS.values(), ids=GROUPS)
def test_a_bad_group_costs_no_other(
    receiver: Receiver, group: object, rejected: int
) -> None:
    """Whatever stands beside it is kept; what was no span is counted, null is nothing."""
    good = document(a_span())["resourceSpans"]
    answer = post(
        receiver, json.dumps({"resourceSpans": [group, *good]}).encode(), JSON
    )
    assert answer.status_code == 200
    assert (
        int(answer.json().get("partialSuccess", {}).get("rejectedSpans", 0)) == rejected
    )
    assert receiver.store.count == 1


@pytest.mark.promise("VIEW-11")
@pytest.mark.parametrize("bad", [1.5, "cut \ud83d"], ids=["number", "half an emoji"])
@pytest.mark.parametrize("holder", ["resource", "scope"])
def test_a_bad_value_of_a_resource_or_scope_costs_itself(
    receiver: Receiver, holder: str, bad: object
) -> None:
    """Its spans, and the other attributes, are kept: they are not at fault."""
    body = document(a_span())
    group = body["resourceSpans"][0]
    named = {"key": "service.name", "value": {"stringValue": "shop"}}
    odd = {"key": "odd", "value": {"stringValue": bad}}
    (group if holder == "resource" else group["scopeSpans"][0])[holder] = {
        "attributes": [odd, named]
    }
    assert post(receiver, json.dumps(body).encode(), JSON).json() == {}
    (trace,) = receiver.traces()
    assert trace.services == ("shop",)


def not_utf8(body: bytes) -> bytes:
    """`body` with half a character in place of WXYZ."""
    assert body.count(b"WXYZ") == 1
    return body.replace(b"WXYZ", b"\xc3abc")


def three_of_protobuf(place: str) -> bytes:
    """A request with three spans, and WXYZ in one place of it."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = group.scope_spans.add()
    scope.scope.name = "WXYZ" if place == "scope" else "test"
    if place == "resource":
        group.resource.attributes.add(key="odd").value.string_value = "WXYZ"
    for number in (1, 2, 3):
        span = scope.spans.add(
            trace_id=b"t" * 16, span_id=bytes([number]) * 8, name=f"s{number}"
        )
        span.start_time_unix_nano = number
    if place in ("name", "trace_state"):
        setattr(scope.spans[1], place, "WXYZ")
    elif place == "key":
        scope.spans[1].attributes.add(key="WXYZ")
    elif place == "event":
        scope.spans[1].events.add(name="WXYZ")
    return request.SerializeToString()


@pytest.mark.promise("VIEW-11")
@pytest.mark.parametrize("place", ["name", "trace_state", "key", "event"])
def test_half_a_character_in_protobuf_costs_its_span_alone(
    receiver: Receiver, place: str
) -> None:
    """Invalid UTF-8 anywhere in a span: the others are kept, the answer counts it."""
    answer = post(receiver, not_utf8(three_of_protobuf(place)), PROTOBUF)
    assert answer.status_code == 200
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_spans == 1
    assert partial.error_message.startswith(
        "1 span with values that OTLP does not allow: "
    )
    (trace,) = receiver.traces()
    assert [(span.name, span.service, span.scope) for span in trace.spans] == [
        ("s1", "shop", "test"),
        ("s3", "shop", "test"),
    ]


@pytest.mark.promise("VIEW-11")
@pytest.mark.parametrize("place", ["resource", "scope"])
def test_half_a_character_beside_the_spans_costs_none(
    receiver: Receiver, place: str
) -> None:
    """In a resource or a scope it costs itself; the service's name stays."""
    answer = post(receiver, not_utf8(three_of_protobuf(place)), PROTOBUF)
    assert (answer.status_code, answer.content) == (200, b"")
    (trace,) = receiver.traces()
    assert [(span.name, span.service) for span in trace.spans] == [
        ("s1", "shop"),
        ("s2", "shop"),
        ("s3", "shop"),
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
def test_foreign_host_names_are_refused(
    receiver: Receiver, host: str, status: int
) -> None:
    """A page whose name was re-bound to 127.0.0.1 gets nowhere."""
    assert post(receiver, GOOD, {**PROTOBUF, "Host": host}).status_code == status


def test_more_host_names_can_be_allowed() -> None:
    """`allowed_hosts` lets a name through, as of a container."""
    with Receiver(0, 0, allowed_hosts=["Traces"]) as receiver:
        assert (
            post(receiver, GOOD, {**PROTOBUF, "Host": "traces:4318"}).status_code == 200
        )


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_every_signal_is_taken(receiver: Receiver, signal: str) -> None:
    """A service that exports all signals to one endpoint sees no errors; what is no OTLP path is 404, a GET 405."""
    url = f"{receiver.http_url}/v1/{signal}"
    answer = httpx.post(url, content=b"", headers=PROTOBUF, trust_env=False)
    assert (answer.status_code, answer.content) == (200, b"")
    assert httpx.get(url, trust_env=False).status_code == 405
    assert (
        httpx.get(receiver.http_url + "/v1/other", trust_env=False).status_code == 404
    )


@pytest.mark.promise("VIEW-06")
def test_a_half_sent_request_holds_nothing_up(receiver: Receiver) -> None:
    """A client that dies or dawdles in the middle of its body is no one else's trouble."""
    with socket.create_connection(("127.0.0.1", receiver.port)) as half:
        half.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"
        )
        assert post(receiver, GOOD, PROTOBUF).status_code == 200
    assert post(receiver, GOOD, PROTOBUF).status_code == 200
