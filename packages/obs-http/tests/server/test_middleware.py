"""The middleware on a real server: FastAPI and bare Starlette behind uvicorn."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, FastAPI, WebSocket
from obs_core import CorrelationConfig, get_correlation_id
from obs_core.exceptions import ConfigurationError
from obs_core.testing import SpanRecorder, wait_until
from obs_http import (
    Identity,
    RequestTracingMiddleware,
    instrument_httpx,
    uninstrument_httpx,
)
from opentelemetry import baggage, trace
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.contrib_semconv import opt_in

Serve = Callable[[Any], str]
NATIVE_OFF: dict[str, Any] = (
    {"telemetry": {"tracing": False}}
    if "telemetry" in FastAPI.__init__.__annotations__
    else {}
)
BOTH = pytest.mark.parametrize(
    "options",
    [{}, NATIVE_OFF] if NATIVE_OFF else [{}],
    ids=["default", "native off"][: 1 + bool(NATIVE_OFF)],
)


def traced(routes: list[Any], **options: Any) -> Starlette:
    app = Starlette(routes=routes)
    app.add_middleware(RequestTracingMiddleware, **options)
    return app


def server_spans(spans: SpanRecorder) -> list[Any]:
    return [span for span in spans if span.kind is SpanKind.SERVER]


async def plain(request: Request) -> Response:
    return PlainTextResponse("ok")


@pytest.mark.promise("HTTP-04")
def test_the_span_of_a_request_whole(serve: Serve, spans: SpanRecorder) -> None:
    """Name, kind, status and every attribute, in the stable conventions, with no other name beside them."""
    url = serve(traced([Route("/items/{item_id:int}", plain, methods=["GET"])]))
    answer = httpx.get(
        f"{url}/items/7?page=2&token=s3cret",
        headers={"X-Request-ID": "r-1", "User-Agent": "test/1"},
    )
    (span,) = wait_until(lambda: server_spans(spans))
    assert answer.status_code == 200
    assert (span.name, span.kind, span.status.status_code) == (
        "GET /items/{item_id}",
        SpanKind.SERVER,
        StatusCode.UNSET,
    )
    assert (span.parent, span.links, span.events) == (None, (), ())
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "http.route": "/items/{item_id}",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "url.path": "/items/7",
        "url.query": "page=2&token=[REDACTED]",
        "server.address": "127.0.0.1",
        "server.port": httpx.URL(url).port,
        "client.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "user_agent.original": "test/1",
        "correlation_id": "r-1",
    }


@pytest.mark.promise("HTTP-04")
@BOTH
def test_the_route_is_the_whole_template(
    options: dict[str, Any], serve: Serve, spans: SpanRecorder
) -> None:
    """Below mounts and included routers the name has every prefix, as templates; unmatched paths share one name."""
    app, inner, router = FastAPI(**options), FastAPI(), APIRouter()

    @inner.get("/items/{item_id}")
    @router.get("/orders/{order_id}")
    def handler() -> str:
        return "ok"

    app.include_router(router, prefix="/v1/{tenant}")
    app.mount("/shops/{shop}", inner)
    app.add_middleware(RequestTracingMiddleware)
    url = serve(app)
    for path in (
        "/v1/acme/orders/1",
        "/shops/berlin/items/7",
        "/nowhere/1",
        "/nowhere/2",
        "/shops/berlin/nothing",
    ):
        httpx.get(url + path)
    httpx.request("BREW", f"{url}/nowhere/3")
    found = wait_until(lambda: len(server_spans(spans)) == 6 and server_spans(spans))
    names = [span.name for span in found]
    assert names[:2] == [
        "GET /v1/{tenant}/orders/{order_id}",
        "GET /shops/{shop}/items/{item_id}",
    ]
    assert names[2:4] == ["GET", "GET"]
    assert "berlin" not in names[4]
    assert names[5] == "HTTP"
    assert [span.attributes.get("http.route") for span in found[:3]] == [
        "/v1/{tenant}/orders/{order_id}", "/shops/{shop}/items/{item_id}", None,
    ]  # fmt: skip
    assert (
        found[5].attributes["http.request.method"],
        found[5].attributes["http.request.method_original"],
    ) == (
        "_OTHER",
        "BREW",
    )


@pytest.mark.promise("HTTP-04")
def test_starlettes_mounts_and_files_have_templates(
    tmp_path: Any, serve: Serve, spans: SpanRecorder
) -> None:
    """Bare Starlette does not say which route it took; the template is found all the same, and a wrong method's as well."""
    (tmp_path / "a.txt").write_text("a")
    routes = [
        Mount("/shops/{shop}", routes=[Route("/items/{item_id}", plain)]),
        Mount("/static", StaticFiles(directory=tmp_path)),
        Route("/only-get", plain),
    ]
    url = serve(traced(routes))
    httpx.get(f"{url}/shops/berlin/items/7")
    httpx.get(f"{url}/static/a.txt")
    httpx.post(f"{url}/only-get")
    found = wait_until(lambda: len(server_spans(spans)) == 3 and server_spans(spans))
    assert [span.name for span in found] == [
        "GET /shops/{shop}/items/{item_id}",
        "GET /static/{path}",
        "POST /only-get",
    ]
    assert found[2].attributes["http.response.status_code"] == 405


@pytest.mark.promise("HTTP-04")
@BOTH
def test_only_5xx_is_an_error(
    options: dict[str, Any], serve: Serve, spans: SpanRecorder
) -> None:
    """404 and 422 leave the status unset; 503 makes it ERROR with the code as error.type."""
    app = FastAPI(**options)

    @app.get("/{code}")
    def answer(code: int) -> Response:
        return Response(status_code=code)

    app.add_middleware(RequestTracingMiddleware)
    url = serve(app)
    for path in ("/404", "/not-a-number", "/503"):
        httpx.get(url + path)
    found = wait_until(lambda: len(server_spans(spans)) == 3 and server_spans(spans))
    said = [
        (
            span.attributes["http.response.status_code"],
            span.status.status_code,
            span.attributes.get("error.type"),
        )
        for span in found
    ]
    assert said == [
        (404, StatusCode.UNSET, None),
        (422, StatusCode.UNSET, None),
        (503, StatusCode.ERROR, "503"),
    ]


@pytest.mark.promise("HTTP-02", "HTTP-06")
@BOTH
def test_a_raising_handler_runs_once_and_is_recorded_once(
    options: dict[str, Any], serve: Serve, spans: SpanRecorder
) -> None:
    """One run, one exception event, ERROR, and the 500 that the client gets carries the correlation id."""
    runs: list[int] = []
    app = FastAPI(**options)

    @app.get("/fails")
    async def fails() -> None:
        runs.append(1)
        raise ValueError("no such item")

    app.add_middleware(RequestTracingMiddleware, service_name="shop")
    answer = httpx.get(f"{serve(app)}/fails", headers={"X-Correlation-ID": "c-1"})
    (span,) = wait_until(lambda: server_spans(spans))
    assert (
        answer.status_code,
        answer.headers["X-Correlation-ID"],
        answer.headers["X-Service-Name"],
    ) == (500, "c-1", "shop")
    assert float(answer.headers["X-Processing-Time"]) < 20
    assert runs == [1]
    (event,) = span.events
    assert (event.name, event.attributes["exception.type"], event.attributes["exception.message"]) == (
        "exception", "ValueError", "no such item",
    )  # fmt: skip
    assert (span.status.status_code, span.attributes["error.type"]) == (
        StatusCode.ERROR,
        "ValueError",
    )
    assert span.attributes["http.response.status_code"] == 500


@pytest.mark.promise("HTTP-02")
def test_the_exception_comes_out_unchanged() -> None:
    """The very object that the handler raised reaches whoever calls the middleware."""
    raised = LookupError("gone")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise raised

    with pytest.raises(LookupError) as caught:
        asyncio.run(
            RequestTracingMiddleware(app)(
                {"type": "http", "method": "GET", "path": "/", "headers": []},
                None,
                None,
            )
        )  # type: ignore[arg-type]
    assert caught.value is raised


@pytest.mark.promise("HTTP-02", "HTTP-04")
@BOTH
def test_what_is_raised_after_the_response_started_is_recorded(
    options: dict[str, Any], serve: Serve, spans: SpanRecorder
) -> None:
    """The status stays what the client was told; the exception makes the span an error, once."""
    app = FastAPI(**options)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        raise ValueError("lost the database")

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(chunks())

    app.add_middleware(RequestTracingMiddleware)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{serve(app)}/stream")
    (span,) = wait_until(lambda: server_spans(spans))
    assert span.attributes["http.response.status_code"] == 200
    assert span.status.status_code is StatusCode.ERROR
    # Starlette before 0.38 raises it in the group of its task group
    assert span.attributes["error.type"] in (
        "ValueError",
        "exceptiongroup.ExceptionGroup",
        "ExceptionGroup",
    )
    assert len(span.events) == 1
    assert "lost the database" in span.events[0].attributes["exception.stacktrace"]


@pytest.mark.promise("HTTP-06")
def test_what_others_recorded_of_the_url_is_masked_in_either_convention(
    monkeypatch: pytest.MonkeyPatch, spans: SpanRecorder
) -> None:
    """Contrib's ``http.target`` and ``http.url``, and ``url.query``, lose the secrets that they were given."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    opt_in(monkeypatch, "http/dup")
    app = OpenTelemetryMiddleware(traced([Route("/items/{item_id}", plain)]))

    async def ask() -> None:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://shop"
        ) as client:
            await client.get("/items/7?page=2&token=s3cret")

    asyncio.run(ask())
    (span,) = server_spans(spans)
    assert {"http.target", "http.url", "url.query"} <= set(span.attributes)
    assert "s3cret" not in span.to_json()


@pytest.mark.promise("HTTP-02")
@pytest.mark.parametrize("part", ["start_span", "propagator", "set_attributes"])
def test_broken_telemetry_is_not_felt(
    part: str,
    break_propagator: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    spans: SpanRecorder,
) -> None:
    """The handler runs exactly once and its answer arrives, whatever part of telemetry raises."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("telemetry is broken")

    runs: list[int] = []

    async def handler(request: Request) -> Response:
        runs.append(1)
        return PlainTextResponse("ok")

    app = traced([Route("/", handler)], capture_request_headers=["*"])
    tracer = trace.get_tracer("any")
    if part == "propagator":
        break_propagator()
    elif part == "start_span":
        monkeypatch.setattr(type(tracer), "start_span", broken)
    else:
        monkeypatch.setattr(type(tracer.start_span("any")), "set_attributes", broken)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://t"
        ) as client:
            return await client.get(
                "/",
                headers={
                    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
                },
            )

    with caplog.at_level(logging.ERROR, logger="obs_core"):
        answer = asyncio.run(ask())
    assert (answer.status_code, answer.text, runs) == (200, "ok", [1])
    assert caplog.records


@pytest.mark.promise("HTTP-03")
@BOTH
def test_a_streams_chunks_pass_as_they_come(
    options: dict[str, Any], serve: Serve, spans: SpanRecorder
) -> None:
    """The client has the first chunk while the handler still waits; the span lasts until the last one."""
    app, go_on = FastAPI(**options), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        await go_on.wait()
        yield b"last"

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(chunks())

    @app.post("/go-on")
    async def let_go() -> None:
        go_on.set()

    app.add_middleware(RequestTracingMiddleware)
    url = serve(app)
    with httpx.stream("GET", f"{url}/stream") as answer:
        parts = answer.iter_raw()
        assert next(parts) == b"first"
        assert not spans.named("GET /stream")
        httpx.post(f"{url}/go-on")
        assert b"".join(parts) == b"last"
    wait_until(lambda: spans.named("GET /stream"))
    assert spans.one("GET /stream").status.status_code is StatusCode.UNSET


@pytest.mark.promise("HTTP-03")
def test_background_tasks_run_on_after_the_span(
    serve: Serve, spans: SpanRecorder
) -> None:
    """The span ends with the response; the task's spans are its children, and what the task raises is recorded."""
    app = FastAPI(**NATIVE_OFF)

    async def late() -> None:
        with trace.get_tracer("test").start_as_current_span("send mail"):
            pass
        raise ValueError("mailbox full")

    @app.get("/orders")
    async def orders(tasks: BackgroundTasks) -> str:
        tasks.add_task(late)
        return "ok"

    app.add_middleware(RequestTracingMiddleware)
    assert httpx.get(f"{serve(app)}/orders").status_code == 200
    wait_until(lambda: len(spans) == 3)
    spans.assert_tree(
        """
        GET /orders [SERVER] http.response.status_code=200
          send mail [INTERNAL]
          background [INTERNAL] ERROR error.type='ValueError'
        """,
        attributes=["http.response.status_code", "error.type"],
    )
    assert [
        event.attributes["exception.message"]
        for event in spans.one("background").events
    ] == ["mailbox full"]


@pytest.mark.promise("HTTP-03")
@BOTH
def test_a_client_that_vanishes_ends_the_span(
    options: dict[str, Any], serve: Serve, spans: SpanRecorder
) -> None:
    """The span of a stream nobody reads any more ends, and is no error of the server's."""
    app = FastAPI(**options)

    async def forever() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1024
            await asyncio.sleep(0.01)

    @app.get("/forever")
    async def endless() -> StreamingResponse:
        return StreamingResponse(forever())

    app.add_middleware(RequestTracingMiddleware)
    url = httpx.URL(serve(app))
    with socket.create_connection((url.host, url.port or 0), timeout=5) as client:
        client.sendall(b"GET /forever HTTP/1.1\r\nHost: shop\r\n\r\n")
        client.recv(1024)
    wait_until(lambda: spans.named("GET /forever"))
    span = spans.one("GET /forever")
    assert span.attributes is not None
    assert span.attributes["obs.disconnected"] is True
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in span.attributes


@pytest.mark.promise("HTTP-03")
@BOTH
def test_a_websocket_session_is_one_span(
    options: dict[str, Any], serve: Serve, spans: SpanRecorder
) -> None:
    """One SERVER span from handshake to close, with the numbers of messages; spans in the handler are its children."""
    app = FastAPI(**options)

    @app.websocket("/rooms/{room}")
    async def echo(socket: WebSocket, room: str) -> None:
        await socket.accept()
        for _ in range(3):
            text = await socket.receive_text()
            with trace.get_tracer("test").start_as_current_span("answer"):
                await socket.send_text(f"{text}! {get_correlation_id()}")
        await socket.close()

    app.add_middleware(RequestTracingMiddleware)
    url = serve(app).replace("http", "ws")
    with connect(
        f"{url}/rooms/7", additional_headers={"X-Correlation-ID": "c-1"}
    ) as client:
        for _ in range(3):
            client.send("hi")
            assert client.recv(timeout=10) == "hi! c-1"
    wait_until(lambda: spans.named("WS /rooms/{room}"))
    span = spans.one("WS /rooms/{room}")
    assert span.attributes is not None
    assert (span.kind, span.status.status_code) == (SpanKind.SERVER, StatusCode.UNSET)
    assert span.attributes["http.route"] == "/rooms/{room}"
    assert (
        span.attributes["obs.websocket.messages.received"],
        span.attributes["obs.websocket.messages.sent"],
    ) == (3, 3)
    assert all(
        child.parent and child.context.trace_id == span.context.trace_id
        for child in spans.named("answer")
    )
    assert len(server_spans(spans)) == 1


@pytest.mark.promise("HTTP-03")
def test_a_websocket_of_starlette_broken_off_by_the_client(
    serve: Serve, spans: SpanRecorder
) -> None:
    """A client that goes away is no error of the server's; a handler that raises is one."""

    async def listen(socket: WebSocket) -> None:
        await socket.accept()
        await socket.receive_text()
        await socket.receive_text()

    async def fails(socket: WebSocket) -> None:
        await socket.accept()
        raise ValueError("no room")

    url = serve(
        traced([WebSocketRoute("/listen", listen), WebSocketRoute("/fails", fails)])
    ).replace("http", "ws")
    with connect(f"{url}/listen") as client:
        client.send("one")
    wait_until(lambda: spans.named("WS /listen"))
    left = spans.one("WS /listen")
    with connect(f"{url}/fails"):
        pass
    wait_until(lambda: spans.named("WS /fails"))
    failed = spans.one("WS /fails")
    assert left.attributes is not None
    assert (
        left.status.status_code,
        left.attributes["obs.websocket.messages.received"],
    ) == (
        StatusCode.UNSET,
        1,
    )
    assert (failed.status.status_code, len(failed.events)) == (StatusCode.ERROR, 1)


@pytest.mark.promise("HTTP-03")
def test_lifespan_passes_through(spans: SpanRecorder) -> None:
    """Start-up and shut-down of the application run, untraced, with the server's own scope, receive and messages."""
    seen: list[Any] = []
    scope, receive = {"type": "lifespan"}, object()
    messages = [
        {"type": f"lifespan.{phase}.complete"} for phase in ("startup", "shutdown")
    ]

    async def app(*given: Any) -> None:
        seen.extend(given[:2])
        for message in messages:
            await given[2](message)

    async def send(message: Any) -> None:
        seen.append(message)

    asyncio.run(RequestTracingMiddleware(app)(scope, receive, send))  # type: ignore[arg-type]
    assert seen == [scope, receive, *messages]
    assert not len(spans)


@pytest.mark.promise("HTTP-05")
@BOTH
def test_health_is_not_traced_by_default_but_healthy_items_are(
    options: dict[str, Any], serve: Serve, spans: SpanRecorder
) -> None:
    """Excluded paths match whole, and nothing that they cause is recorded: not FastAPI's spans, not one of their own."""
    app = FastAPI(**options)

    @app.get("/health")
    @app.get("/healthy-items")
    def answer() -> str:
        with trace.get_tracer("test").start_as_current_span("SELECT 1"):
            return "ok"

    app.add_middleware(RequestTracingMiddleware)
    url = serve(app)
    for path in ("/health", "/health/", "/healthy-items"):
        assert httpx.get(url + path, follow_redirects=True).status_code == 200
    wait_until(lambda: server_spans(spans))
    assert [span.name for span in server_spans(spans)] == ["GET /healthy-items"]
    assert len(spans.named("SELECT 1")) == 1


@pytest.mark.promise("HTTP-06")
@BOTH
def test_headers_are_captured_by_list_and_glob_and_secrets_masked(
    options: dict[str, Any], serve: Serve, spans: SpanRecorder
) -> None:
    """Arrays of strings; a pattern that takes everything still exports no secret."""
    app = FastAPI(**options)

    @app.get("/")
    def answer() -> Response:
        return Response(headers={"Set-Cookie": "id=1", "X-Cache": "hit"})

    app.add_middleware(
        RequestTracingMiddleware,
        capture_request_headers=["*"],
        capture_response_headers=["x-cache", "set-*"],
        redact=["x-ssn"],
    )
    sent = [
        ("X-Tag", "a"),
        ("X-Tag", "b"),
        ("Authorization", "Bearer t"),
        ("Cookie", "c"),
        ("X-Api_Key", "k"),
        ("X-SSN", "1"),
    ]
    httpx.get(f"{serve(app)}/", headers=sent)
    (span,) = wait_until(lambda: server_spans(spans))
    found = {
        name.removeprefix("http."): value
        for name, value in span.attributes.items()
        if ".header." in name
    }
    assert found["request.header.x-tag"] == ("a", "b")
    for name in ("authorization", "cookie", "x-api_key", "x-ssn"):
        assert found[f"request.header.{name}"] == ("[REDACTED]",)
    assert (found["response.header.x-cache"], found["response.header.set-cookie"]) == (
        ("hit",),
        ("[REDACTED]",),
    )


@pytest.mark.promise("HTTP-06")
def test_response_headers_can_be_switched(serve: Serve, spans: SpanRecorder) -> None:
    """Off: none of ours; traceresponse on demand; the application's own header wins."""

    async def own(request: Request) -> Response:
        return PlainTextResponse("ok", headers={"X-Correlation-ID": "mine"})

    odd = httpx.get(
        serve(traced([Route("/", plain)], service_name="shop\r\nSet-Cookie: a=ü"))
    )
    assert odd.headers["X-Service-Name"] == "shop??Set-Cookie: a=?"
    silent = httpx.get(
        serve(traced([Route("/", plain)], service_name="shop", response_headers=False))
    )
    assert not {"x-correlation-id", "x-service-name", "x-processing-time"} & set(
        silent.headers
    )
    told = httpx.get(serve(traced([Route("/", own)], traceresponse=True)))
    assert told.headers.get_list("X-Correlation-ID") == ["mine"]
    last = wait_until(
        lambda: len(server_spans(spans)) == 3 and server_spans(spans)[-1].context
    )
    assert (
        told.headers["traceresponse"]
        == f"00-{last.trace_id:032x}-{last.span_id:016x}-{last.trace_flags:02x}"
    )


@pytest.mark.promise("HTTP-06", "CORE-60")
def test_a_forged_correlation_id_is_not_echoed(
    serve: Serve, spans: SpanRecorder
) -> None:
    """What could forge a header or a log line is replaced; another header name and no generating are options."""
    url = serve(traced([Route("/", plain)]))
    for forged in ("a b", "x" * 129, 'a"b', "ü", "<script>"):
        answer = httpx.get(url, headers={b"X-Correlation-ID": forged.encode()})
        assert answer.headers["X-Correlation-ID"] not in (forged, "")
        assert len(answer.headers["X-Correlation-ID"]) == 36
    other = serve(
        traced(
            [Route("/", plain)],
            correlation=CorrelationConfig(headers=["X-Trace"], generate_id=False),
        )
    )
    assert httpx.get(other, headers={"X-Trace": "t-1"}).headers["X-Trace"] == "t-1"
    assert "X-Trace" not in httpx.get(other).headers


@pytest.mark.promise("HTTP-06", "CORE-60")
@BOTH
@pytest.mark.parametrize(
    "sent",
    [
        (b"x-correlation-id", b"c-1\r\nSet-Cookie: admin=1"),
        (b"x-correlation-id", b"c-1\nSet-Cookie: admin=1"),
        (b"x-correlation-id", b"c-1%0d%0aSet-Cookie:admin=1"),
        (b"x-correlation-id", b"c-1\0"),
        (b"x-correlation-id", b""),
        (b"baggage", b"correlation_id=c-1%0D%0ASet-Cookie%3A%20admin%3D1"),
        (b"baggage", b"correlation_id=" + b"c" * 129),
    ],
    ids=lambda sent: f"{sent[0].decode()} {sent[1][:24].decode()!r}",
)
def test_no_header_is_injected_through_the_correlation_id(
    sent: tuple[bytes, bytes], options: dict[str, Any], spans: SpanRecorder
) -> None:
    """Neither into the response, nor into what a handler sends on, nor onto a span; servers let some of these through."""
    app, carried, answered = FastAPI(**options), httpx.Headers(), list[Any]()

    @app.get("/")
    async def handler() -> str:
        def onwards(request: httpx.Request) -> httpx.Response:
            carried.update(request.headers)
            return httpx.Response(200)

        async with httpx.AsyncClient(transport=httpx.MockTransport(onwards)) as client:
            instrument_httpx(client)
            await client.get("http://inner")
        return "ok"

    app.add_middleware(RequestTracingMiddleware)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answered.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [sent],
        "query_string": b"",
    }
    asyncio.run(app(scope, receive, send))
    (made,) = (
        value.decode()
        for name, value in answered[0]["headers"]
        if name == b"x-correlation-id"
    )
    assert len(made) == 36
    assert b"Set-Cookie" not in b"".join(value for _, value in answered[0]["headers"])
    assert carried["x-correlation-id"] == made
    assert f"correlation_id={made}" in carried["baggage"]
    assert {
        span.attributes["correlation_id"]
        for span in spans.finished
        if span.kind is not SpanKind.INTERNAL
    } == {made}


@pytest.mark.promise("HTTP-03")
@BOTH
def test_a_websocket_that_is_refused_or_untrusted(
    options: dict[str, Any], serve: Serve, spans: SpanRecorder
) -> None:
    """Closed before it is accepted: 403, no error of the server's; a caller that is not trusted is linked here as well."""
    app = FastAPI(**options)

    @app.websocket("/closed")
    async def closed(socket: WebSocket) -> None:
        await socket.close()

    app.add_middleware(RequestTracingMiddleware, trust_remote_context=False)
    url = serve(app).replace("http", "ws")
    sent = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with (
        pytest.raises(InvalidStatus),
        connect(f"{url}/closed", additional_headers=sent),
    ):
        pass
    (span,) = wait_until(lambda: server_spans(spans))
    assert (span.name, span.parent, span.status.status_code) == (
        "WS /closed",
        None,
        StatusCode.UNSET,
    )
    assert [link.context.span_id for link in span.links] == [0xB7AD6B7169203331]
    assert span.attributes["http.response.status_code"] == 403


@pytest.mark.promise("HTTP-06")
def test_legacy_attributes_are_opt_in(serve: Serve, spans: SpanRecorder) -> None:
    """The names of distributed-observability-tools 1.0 stand beside the new one, only where asked for."""
    httpx.get(
        serve(traced([Route("/", plain)], legacy_attributes=True)),
        headers={"X-Correlation-ID": "c-1"},
    )
    httpx.get(serve(traced([Route("/", plain)])), headers={"X-Correlation-ID": "c-1"})
    old, new = wait_until(lambda: len(server_spans(spans)) == 2 and server_spans(spans))
    assert (
        old.attributes["correlation.id"]
        == old.attributes["x-correlation-id"]
        == old.attributes["correlation_id"]
        == "c-1"
    )
    assert old.attributes["http.request.header.x-correlation-id"] == ("c-1",)
    assert not {"correlation.id", "x-correlation-id"} & set(new.attributes)


@pytest.mark.promise("HTTP-07")
@BOTH
def test_who_the_request_is_for(
    options: dict[str, Any], serve: Serve, spans: SpanRecorder
) -> None:
    """The callable's answer is on the span and, where asked for, in the baggage that goes on to other services."""
    app = FastAPI(**options)

    @app.get("/")
    def answer() -> dict[str, object]:
        return dict(baggage.get_all())

    app.add_middleware(
        RequestTracingMiddleware,
        identify=lambda headers: Identity(headers["x-user"], headers.get("x-tenant")),
        identity_in_baggage=True,
    )
    url = serve(app)
    carried = httpx.get(url, headers={"X-User": "u-1", "X-Tenant": "t-1"}).json()
    assert (carried["user.id"], carried["tenant.id"]) == ("u-1", "t-1")
    assert httpx.get(url).status_code == 200  # the callable raises KeyError
    known, unknown = wait_until(
        lambda: len(server_spans(spans)) == 2 and server_spans(spans)
    )
    assert (known.attributes["user.id"], known.attributes["tenant.id"]) == (
        "u-1",
        "t-1",
    )
    assert "user.id" not in unknown.attributes


def who_reaches(
    serve: Serve, edge: dict[str, Any], inner: dict[str, Any], headers: dict[str, str]
) -> dict[str, Any]:
    """Ask an edge that asks a service further in; return what the baggage says there."""

    async def said(request: Request) -> Response:
        return JSONResponse(
            {
                name: value
                for name, value in baggage.get_all().items()
                if name != "correlation_id"
            }
        )

    url = serve(traced([Route("/inner", said)], **inner))

    async def pass_on(request: Request) -> Response:
        async with httpx.AsyncClient() as client:
            return JSONResponse((await client.get(f"{url}/inner")).json())

    found: dict[str, Any] = httpx.get(
        f"{serve(traced([Route('/edge', pass_on)], **edge))}/edge", headers=headers
    ).json()
    return found


FORGED = {"baggage": "user.id=admin,tenant.id=all,user.hash=0,other=1"}


@pytest.mark.promise("HTTP-07")
def test_the_identity_is_on_every_server_span_that_trusts_its_callers(
    serve: Serve, spans: SpanRecorder
) -> None:
    """The edge reads it off the headers, the services behind it out of baggage; who does not ask for that has none."""
    instrument_httpx()
    edge = {
        "identify": lambda headers: headers.get("x-user"),
        "identity_in_baggage": True,
    }
    try:
        for options in (
            {"identity_from_baggage": True},
            {"identity_from_baggage": True, "identity_hash_key": "k"},
            {},
        ):
            assert who_reaches(serve, edge, options, {"x-user": "u-1", **FORGED}) == {
                "user.id": "u-1",
                "other": "1",
            }
    finally:
        uninstrument_httpx()
    wait_until(lambda: len(server_spans(spans)) == 6)
    assert [
        span.attributes["user.id"]
        for span in spans.named("GET /edge")
        if span.attributes
    ] == ["u-1"] * 3
    found = sorted(spans.named("GET /inner"), key=lambda span: span.start_time or 0)
    plain, hashed, unasked = (dict(span.attributes or {}) for span in found)
    assert (plain["user.id"], "tenant.id" in plain) == ("u-1", False)
    assert len(hashed["user.hash"]) == 64
    assert "user.id" not in hashed
    assert not {"user.id", "user.hash", "tenant.id"} & set(unasked)


@pytest.mark.promise("HTTP-07", "HTTP-09")
@pytest.mark.parametrize(
    "edge",
    [
        {"identify": "aws_alb"},
        {"identify": "aws_alb", "identity_in_baggage": True},
        {
            "identify": lambda headers: headers["no-such-header"],
            "identity_in_baggage": True,
        },
        {"trust_remote_context": False},
    ],
    ids=["identify", "identify and baggage", "identify raises", "untrusted"],
)
def test_a_strangers_baggage_names_nobody(
    edge: dict[str, Any], serve: Serve, spans: SpanRecorder
) -> None:
    """An edge that says who a request is for, be it nobody, lets no caller say it, neither here nor further in."""
    instrument_httpx()
    try:
        found = who_reaches(serve, edge, {"identity_from_baggage": True}, FORGED)
    finally:
        uninstrument_httpx()
    assert not {"user.id", "user.hash", "tenant.id"} & set(found)
    for span in wait_until(
        lambda: len(server_spans(spans)) == 2 and server_spans(spans)
    ):
        assert not {"user.id", "user.hash", "tenant.id"} & set(span.attributes)


@pytest.mark.promise("HTTP-07")
def test_what_could_forge_a_log_line_is_no_identity_in_baggage_either(
    serve: Serve, spans: SpanRecorder
) -> None:
    """Line breaks and oversized ids are left out; what the headers say comes first."""
    options = {
        "identity_from_baggage": True,
        "identify": lambda headers: headers.get("x-user"),
    }
    url = serve(traced([Route("/", plain)], **options))
    httpx.get(url, headers={"baggage": f"user.id=a%0D%0Ab,tenant.id={'t' * 257}"})
    httpx.get(url, headers={"baggage": "user.id=u-2", "x-user": "u-1"})
    httpx.get(url, headers={"baggage": "user.id=u-2,tenant.id=t-2"})
    found = wait_until(lambda: len(server_spans(spans)) == 3 and server_spans(spans))
    in_order = sorted(found, key=lambda span: span.start_time)
    said = [
        (span.attributes.get("user.id"), span.attributes.get("tenant.id"))
        for span in in_order
    ]
    assert said == [(None, None), ("u-1", None), ("u-2", "t-2")]


@pytest.mark.parametrize(
    "options",
    [
        {"identity_from_baggage": True, "trust_remote_context": False},
        {"exclude": ["health"]}, {"exclude": "/health"}, {"identify": "aws"},
        {"identity_hash_key": "", "identify": "aws_alb"},
        {"capture_request_headers": "x-*"}, {"capture_response_headers": [""]}, {"correlation": "X-Id"},
        {"redact": "ssn"}, {"response_headers": "no"}, {"trust_remote_context": None},
    ],
)  # fmt: skip
def test_what_is_configured_wrong_raises_at_once(options: dict[str, Any]) -> None:
    """The message names the option's value."""
    with pytest.raises(ConfigurationError):
        RequestTracingMiddleware(plain, **options)  # type: ignore[arg-type]
