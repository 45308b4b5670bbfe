"""W3C Trace Context and Baggage: every form that the specifications rule out, and those that they allow."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given, settings
from hypothesis import strategies as st
from obs_core.testing import SpanRecorder
from obs_http import RequestTracingMiddleware
from obs_http.server._propagation import bounded_tracestate
from opentelemetry import baggage, trace
from opentelemetry.trace import SpanKind

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
VALID = f"00-{TRACE}-{SPAN}-01"
NATIVE_OFF: dict[str, Any] = (
    {"telemetry": {"tracing": False}}
    if "telemetry" in FastAPI.__init__.__annotations__
    else {}
)

MALFORMED_TRACEPARENTS = {
    "empty": "",
    "no dashes": VALID.replace("-", ""),
    "version too short": VALID[1:],
    "version too long": f"000-{TRACE}-{SPAN}-01",
    "version not hex": f"0g-{TRACE}-{SPAN}-01",
    "version upper case": f"0A-{TRACE}-{SPAN}-01",
    "version ff": f"ff-{TRACE}-{SPAN}-01",
    "version 00 with more at the end": f"{VALID}-more",
    "version 00 with a dash at the end": f"{VALID}-",
    "version 01 with more, but no dash": f"01-{TRACE}-{SPAN}-01more",
    "trace id zero": f"00-{'0' * 32}-{SPAN}-01",
    "trace id too short": f"00-{TRACE[:-1]}-{SPAN}-01",
    "trace id too long": f"00-{TRACE}0-{SPAN}-01",
    "trace id upper case": f"00-{TRACE.upper()}-{SPAN}-01",
    "trace id not hex": f"00-{TRACE[:-1]}g-{SPAN}-01",
    "trace id with a dot": f"00-{TRACE[:-1]}.-{SPAN}-01",
    "parent id zero": f"00-{TRACE}-{'0' * 16}-01",
    "parent id too short": f"00-{TRACE}-{SPAN[:-1]}-01",
    "parent id too long": f"00-{TRACE}-{SPAN}0-01",
    "parent id upper case": f"00-{TRACE}-{SPAN.upper()}-01",
    "parent id not hex": f"00-{TRACE}-{SPAN[:-1]}g-01",
    "flags missing": f"00-{TRACE}-{SPAN}",
    "flags empty": f"00-{TRACE}-{SPAN}-",
    "flags too short": f"00-{TRACE}-{SPAN}-1",
    "flags too long": f"00-{TRACE}-{SPAN}-001",
    "flags not hex": f"00-{TRACE}-{SPAN}-0g",
    "flags upper case": f"00-{TRACE}-{SPAN}-0A",
    "two joined by a comma": f"{VALID},{VALID}",
    "underscores": VALID.replace("-", "_"),
    "oversized": "00-" + "a" * 65536,
    "version 01, oversized": f"01-{TRACE}-{SPAN}-01-" + "a" * 65536,
}
VALID_TRACEPARENTS = {
    "version 00": VALID,
    "unknown flags": f"00-{TRACE}-{SPAN}-ff",
    "version 01": f"01-{TRACE}-{SPAN}-01",
    "version cc with more": f"cc-{TRACE}-{SPAN}-01-what-the-future-brings",
    "blanks around": f"  {VALID}\t",
}
MEMBER_KEY = "k" * 256
MALFORMED_TRACESTATES = {
    "no equals sign": "rojo",
    "key empty": "=1",
    "key upper case": "ROJO=1",
    "key of 257 characters": "k" * 257 + "=1",
    "key of 513 characters": "k" * 513 + "=1",
    "key with a blank": "ro jo=1",
    "two at signs": "a@b@c=1",
    "value with an equals sign": "rojo=1=2",
    "value of 257 characters": "rojo=" + "v" * 257,
    "value not ASCII": "rojo=ü",
    "33 members": ",".join(f"k{number}=1" for number in range(33)),
    "64 kB": "rojo=" + "v" * 65536,
}


def ask(
    headers: list[tuple[str, str]],
    fastapi: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Send one request with `headers`, after another; return what the handler saw."""
    app = FastAPI(**(fastapi or {}))

    @app.get("/")
    def answer() -> dict[str, Any]:
        return {
            "baggage": {name: str(value) for name, value in baggage.get_all().items()}
        }

    app.add_middleware(RequestTracingMiddleware, **options)

    async def run() -> dict[str, Any]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://edge"
        ) as client:
            await client.get("/warm-up-of-the-edge")
            answer = await client.get(
                "/",
                headers=[(name.encode(), value.encode()) for name, value in headers],
            )
            assert answer.status_code == 200
            found: dict[str, Any] = answer.json()
            return found

    return asyncio.run(run())


def the_server_span(spans: SpanRecorder) -> Any:
    _, span = [span for span in spans if span.kind is SpanKind.SERVER]
    return span


BOTH = pytest.mark.parametrize(
    "fastapi",
    [{}, NATIVE_OFF] if NATIVE_OFF else [{}],
    ids=["default", "native off"][: 1 + bool(NATIVE_OFF)],
)


@pytest.mark.promise("HTTP-09")
@BOTH
@pytest.mark.parametrize("name", MALFORMED_TRACEPARENTS)
def test_a_malformed_traceparent_starts_a_new_trace(
    name: str, fastapi: dict[str, Any], spans: SpanRecorder
) -> None:
    """The request is served, in a new trace, without its tracestate."""
    ask(
        [("traceparent", MALFORMED_TRACEPARENTS[name]), ("tracestate", "rojo=1")],
        fastapi,
    )
    span = the_server_span(spans)
    assert (span.parent, len(span.context.trace_state)) == (None, 0)
    assert span.context.trace_id != int(TRACE, 16)


@pytest.mark.promise("HTTP-09")
@BOTH
@pytest.mark.parametrize(
    "values",
    [(VALID, VALID), (VALID, VALID.replace("01", "02")), ("", VALID)],
    ids=["same", "other", "empty first"],
)
def test_two_traceparents_start_a_new_trace(
    values: tuple[str, str], fastapi: dict[str, Any], spans: SpanRecorder
) -> None:
    """Neither of two headers is believed, not even where FastAPI's own tracing, which takes the first, opens the span."""
    ask([("traceparent", value) for value in values], fastapi)
    assert the_server_span(spans).parent is None


@pytest.mark.promise("HTTP-09")
@BOTH
@pytest.mark.parametrize("name", VALID_TRACEPARENTS)
def test_a_valid_traceparent_is_gone_on_with(
    name: str, fastapi: dict[str, Any], spans: SpanRecorder
) -> None:
    """The caller's span is the parent; versions to come are read as far as they are known."""
    ask(
        [("traceparent", VALID_TRACEPARENTS[name]), ("tracestate", "rojo=1,congo=2")],
        fastapi,
    )
    span = the_server_span(spans)
    assert (span.parent.trace_id, span.parent.span_id) == (
        int(TRACE, 16),
        int(SPAN, 16),
    )
    assert dict(span.context.trace_state) == {"rojo": "1", "congo": "2"}


@pytest.mark.promise("HTTP-09")
@BOTH
@pytest.mark.parametrize("name", MALFORMED_TRACESTATES)
def test_a_malformed_tracestate_is_left_out_and_the_trace_goes_on(
    name: str, fastapi: dict[str, Any], spans: SpanRecorder
) -> None:
    """The whole list is discarded; the traceparent stays good."""
    ask([("traceparent", VALID), ("tracestate", MALFORMED_TRACESTATES[name])], fastapi)
    span = the_server_span(spans)
    assert (span.context.trace_id, dict(span.context.trace_state)) == (
        int(TRACE, 16),
        {},
    )


@pytest.mark.promise("HTTP-09")
@BOTH
def test_several_tracestates_are_one_list(
    fastapi: dict[str, Any], spans: SpanRecorder
) -> None:
    """In the order in which they came, empty members left out."""
    ask(
        [
            ("traceparent", VALID),
            ("tracestate", "rojo=1, ,"),
            ("tracestate", "congo=2"),
        ],
        fastapi,
    )
    assert list(the_server_span(spans).context.trace_state.items()) == [
        ("rojo", "1"),
        ("congo", "2"),
    ]


@pytest.mark.promise("HTTP-15")
@BOTH
@pytest.mark.parametrize(
    "values", [["rojo=1,congo=2,rojo=3"], ["rojo=1", "congo=2,congo=4", "rojo=1"]]
)
def test_a_repeated_key_keeps_one_copy(
    values: list[str], fastapi: dict[str, Any], spans: SpanRecorder
) -> None:
    """The first, which is the latest; within a header and across several. The propagator alone would drop them all."""
    ask([("traceparent", VALID), *(("tracestate", value) for value in values)], fastapi)
    assert list(the_server_span(spans).context.trace_state.items()) == [
        ("rojo", "1"),
        ("congo", "2"),
    ]


@pytest.mark.promise("HTTP-09")
def test_a_long_tracestate_is_cut_between_members() -> None:
    """512 characters at most; members over 128 go first, then from the end."""
    big = "big=" + "b" * 200
    small = [f"k{number:02}=" + "v" * 40 for number in range(12)]
    assert bounded_tracestate([",".join([big, *small])]) == [",".join(small[:11])]
    assert bounded_tracestate(["a=1", "b=2"]) == ["a=1,b=2"]
    assert bounded_tracestate([" , "]) == []


@pytest.mark.promise("HTTP-09")
@given(
    st.lists(
        st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n\0")),
        max_size=50,
    )
)
@settings(max_examples=200, deadline=None)
def test_a_tracestate_never_grows(values: list[str]) -> None:
    """Whatever comes in, at most 512 characters and 32 members come out."""
    kept = bounded_tracestate(values)
    assert sum(map(len, kept)) <= 512
    assert len(",".join(kept).split(",")) <= 32


@pytest.mark.promise("HTTP-09")
@BOTH
@pytest.mark.parametrize(
    "value",
    [
        "x" * 65536,
        "k=" + "v" * 65536,
        ",".join(f"k{n}=v" for n in range(20000)),
        "=",
        "k",
        "k=v;;;",
        "%zz=%zz",
        "kü=ü",
        ",,,",
        "k =v, =x",
    ],
    ids=lambda value: f"{value[:8]} ({len(value)})",
)
def test_hostile_baggage_is_bounded_and_never_raises(
    value: str,
    fastapi: dict[str, Any],
    spans: SpanRecorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The request is served, 64 kB of baggage go nowhere, not into the log either, and the span is no larger than ever."""
    seen = ask([("baggage", value)], fastapi)
    assert sum(len(name) + len(text) for name, text in seen["baggage"].items()) < 8192
    assert len(the_server_span(spans).attributes) < 20
    assert all(len(record.getMessage()) < 8192 for record in caplog.records)


@pytest.mark.promise("HTTP-09")
def test_several_baggage_headers_are_one(spans: SpanRecorder) -> None:
    """Both are read, as HTTP says of a list."""
    seen = ask([("baggage", "a=1"), ("baggage", "b=2;meta")])["baggage"]
    assert (seen["a"], seen["b"][0]) == ("1", "2")


@pytest.mark.promise("HTTP-09")
@BOTH
def test_an_untrusted_callers_trace_is_linked(
    fastapi: dict[str, Any], spans: SpanRecorder
) -> None:
    """A new trace with a link to the caller's span; its tracestate and baggage stay outside, the correlation id comes in."""
    sent = [
        ("traceparent", VALID),
        ("tracestate", "rojo=1"),
        ("baggage", "admin=yes"),
        ("x-correlation-id", "c-1"),
    ]
    seen = ask(sent, fastapi, trust_remote_context=False)
    span = the_server_span(spans)
    assert (span.parent, len(span.context.trace_state)) == (None, 0)
    assert [(link.context.trace_id, link.context.span_id) for link in span.links] == [
        (int(TRACE, 16), int(SPAN, 16))
    ]
    assert seen["baggage"] == {"correlation_id": "c-1"}


@pytest.mark.promise("HTTP-09")
@BOTH
def test_the_handler_sees_the_headers_as_they_came(
    fastapi: dict[str, Any], spans: SpanRecorder
) -> None:
    """What is hidden from FastAPI's tracing is not hidden from the application."""
    app = FastAPI(**fastapi)

    @app.get("/")
    def answer(request: Request) -> list[str]:
        return request.headers.getlist("traceparent")

    app.add_middleware(RequestTracingMiddleware, trust_remote_context=False)

    async def run() -> Any:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://edge"
        ) as client:
            await client.get("/warm-up-of-the-edge")
            return (
                await client.get(
                    "/", headers=[("traceparent", VALID), ("traceparent", "x")]
                )
            ).json()

    assert asyncio.run(run()) == [VALID, "x"]


@pytest.mark.promise("HTTP-09")
def test_a_callers_unsampled_trace_stays_unsampled(spans: SpanRecorder) -> None:
    """The caller's decision is honoured, below our span as well."""
    ask([("traceparent", f"00-{TRACE}-{SPAN}-00")])
    assert (
        len([span for span in spans if span.kind is SpanKind.SERVER]) == 1
    )  # the warm-up's
    assert not trace.get_current_span().get_span_context().is_valid
