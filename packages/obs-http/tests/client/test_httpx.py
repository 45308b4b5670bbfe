"""httpx and httpx2 against a real server, and on every transport it has."""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from obs_core import CorrelationConfig, correlation_scope
from obs_core.exceptions import ConfigurationError
from obs_core.testing import SpanRecorder
from obs_http import RequestTracingMiddleware, instrument_httpx, uninstrument_httpx
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

Serve = Callable[[Any], str]


@pytest.fixture(autouse=True)
def take_back(library: Any) -> Iterator[None]:
    before = {
        (cls, name): vars(cls)[name]
        for cls in (httpx.Client, httpx.AsyncClient)
        for name in ("send", "_send_single_request")
    }
    yield
    uninstrument_httpx()
    for (cls, name), method in before.items():
        assert vars(cls)[name] is method


async def headers(request: Request) -> Response:
    return JSONResponse(dict(request.headers))


async def redirect(request: Request) -> Response:
    return RedirectResponse("/headers")


async def busy(request: Request) -> Response:
    return Response(status_code=503)


def application() -> Starlette:
    return Starlette(
        routes=[
            Route("/headers", headers),
            Route("/redirect", redirect),
            Route("/busy", busy),
        ]
    )


def fetch(url: str, kind: str, **options: Any) -> httpx.Response:
    """Get `url` with a client of the `kind`."""
    if kind == "sync":
        with httpx.Client(follow_redirects=True, **options) as client:
            return client.get(url)

    async def run() -> httpx.Response:
        async with httpx.AsyncClient(follow_redirects=True, **options) as client:
            return await client.get(url)

    return asyncio.run(run())


KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.mark.promise("HTTP-08")
@KINDS
def test_the_span_of_a_request_whole(
    kind: str, serve: Serve, spans: SpanRecorder
) -> None:
    """Name, kind, status and every attribute; trace, baggage and correlation id go out; secrets of the URL do not."""
    instrument_httpx()
    url = httpx.URL(serve(application()))
    with correlation_scope("c-1"):
        answer = fetch(
            f"http://bob:pa55@{url.host}:{url.port}/headers?page=2&X-Amz-Signature=5ig",
            kind,
        ).json()
    (span,) = spans.finished
    assert (span.name, span.kind, span.status.status_code, span.parent) == (
        "GET",
        SpanKind.CLIENT,
        StatusCode.UNSET,
        None,
    )
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "url.full": f"http://REDACTED:REDACTED@{url.host}:{url.port}/headers?page=2&X-Amz-Signature=[REDACTED]",
        "server.address": url.host,
        "server.port": url.port,
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "correlation_id": "c-1",
    }
    assert answer["traceparent"].split("-")[1:3] == [
        f"{span.context.trace_id:032x}",
        f"{span.context.span_id:016x}",
    ]
    assert (answer["x-correlation-id"], answer["baggage"]) == (
        "c-1",
        "correlation_id=c-1",
    )


@pytest.mark.promise("HTTP-08")
@KINDS
def test_redirects_are_one_trace(kind: str, serve: Serve, spans: SpanRecorder) -> None:
    """A span for each request sent, numbered, in one trace also where there was none around the call."""
    instrument_httpx()
    url = serve(application())
    sent = fetch(f"{url}/redirect", kind)
    first, second = spans.finished
    assert sent.json()["traceparent"].split("-")[2] == f"{second.context.span_id:016x}"
    assert second.parent is not None
    assert (second.context.trace_id, second.parent.span_id) == (
        first.context.trace_id,
        first.context.span_id,
    )
    codes = [
        (span.attributes or {}).get("http.response.status_code")
        for span in (first, second)
    ]
    assert codes == [307, 200]
    assert [
        (span.attributes or {}).get("http.request.resend_count")
        for span in (first, second)
    ] == [None, 1]
    spans.clear()
    with trace.get_tracer("test").start_as_current_span("order"):
        fetch(f"{url}/redirect", kind)
    spans.assert_tree(
        """
        order [INTERNAL]
          GET [CLIENT]
          GET [CLIENT] http.request.resend_count=1
        """,
        attributes=["http.request.resend_count"],
    )


@pytest.mark.promise("HTTP-08")
@KINDS
def test_authentication_rounds_are_one_trace(kind: str, spans: SpanRecorder) -> None:
    """A digest challenge and its answer: two spans, one trace."""

    def answer(request: httpx.Request) -> httpx.Response:
        challenge = {
            "WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
        }
        return (
            httpx.Response(200)
            if "Authorization" in request.headers
            else httpx.Response(401, headers=challenge)
        )

    instrument_httpx()
    assert (
        fetch(
            "http://shop/",
            kind,
            transport=httpx.MockTransport(answer),
            auth=httpx.DigestAuth("u", "p"),
        ).status_code
        == 200
    )
    spans.assert_tree(
        """
        GET [CLIENT] ERROR http.response.status_code=401
          GET [CLIENT] http.response.status_code=200
        """,
        attributes=["http.response.status_code"],
    )


def own() -> Any:
    """Return a transport of the application's own."""

    class Own(httpx.BaseTransport, httpx.AsyncBaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, json=dict(request.headers))

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, json=dict(request.headers))

    return Own()


@pytest.mark.promise("HTTP-08")
@pytest.mark.parametrize(
    ("kind", "transport"),
    [
        *(
            (kind, name)
            for kind in ("sync", "async")
            for name in ("mock", "own", "mounted")
        ),
        ("async", "asgi"),
    ],
)
def test_every_transport_is_traced(
    kind: str, transport: str, spans: SpanRecorder
) -> None:
    """Of clients that existed before as well: contrib sees those of the network alone."""
    made: dict[str, Callable[[], Any]] = {
        "mock": lambda: httpx.MockTransport(
            lambda request: httpx.Response(200, json=dict(request.headers))
        ),
        "own": own,
        "asgi": lambda: httpx.ASGITransport(application()),
    }
    options = (
        {"mounts": {"all://": own()}}
        if transport == "mounted"
        else {"transport": made[transport]()}
    )
    if kind == "sync":
        with httpx.Client(**options) as client:
            instrument_httpx()
            carried = client.get("http://shop/headers").json()
    else:

        async def run() -> Any:
            async with httpx.AsyncClient(**options) as client:
                instrument_httpx()
                return (await client.get("http://shop/headers")).json()

        carried = asyncio.run(run())
    (span,) = spans.finished
    assert carried["traceparent"].split("-")[2] == f"{span.context.span_id:016x}"


@pytest.mark.promise("HTTP-08", "HTTP-01")
def test_an_application_in_process_has_its_own_server_span(spans: SpanRecorder) -> None:
    """Handler → httpx → another application, all in one process and task: SERVER, CLIENT, SERVER, in that order."""
    instrument_httpx()
    inner = application()
    inner.add_middleware(RequestTracingMiddleware)

    async def ask(request: Request) -> Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(inner), base_url="http://inner"
        ) as client:
            return JSONResponse((await client.get("/headers")).json())

    outer = Starlette(routes=[Route("/", ask)])
    outer.add_middleware(RequestTracingMiddleware)
    fetch("http://outer/", "async", transport=httpx.ASGITransport(outer))
    assert (
        len(
            {
                span.attributes["correlation_id"]
                for span in spans
                if span.attributes and span.kind is SpanKind.SERVER
            }
        )
        == 1
    )
    spans.assert_tree(
        """
        GET [CLIENT]
          GET / [SERVER]
            GET [CLIENT]
              GET /headers [SERVER]
        """
    )


@pytest.mark.promise("HTTP-01")
def test_a_nested_call_without_client_tracing_has_its_own_server_span(
    spans: SpanRecorder,
) -> None:
    """The outer request's SERVER span is not taken for the inner one's."""
    inner = application()
    inner.add_middleware(RequestTracingMiddleware)

    async def ask(request: Request) -> Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(inner), base_url="http://inner"
        ) as client:
            return JSONResponse((await client.get("/headers")).json())

    outer = Starlette(routes=[Route("/", ask)])
    outer.add_middleware(RequestTracingMiddleware)
    fetch("http://outer/", "async", transport=httpx.ASGITransport(outer))
    spans.assert_tree(
        """
        GET / [SERVER]
          GET /headers [SERVER]
        """
    )


@pytest.mark.promise("HTTP-08")
@KINDS
def test_errors_are_recorded_once_and_pass_unchanged(
    kind: str, serve: Serve, spans: SpanRecorder
) -> None:
    """4xx and 5xx are errors of the client's span; what cannot be sent is recorded with its exception."""
    instrument_httpx()
    fetch(f"{serve(application())}/busy", kind)
    with pytest.raises(httpx.ConnectError):
        fetch("http://127.0.0.1:1/?token=s3cret", kind)
    busy_span, refused = spans.finished
    assert (
        busy_span.status.status_code,
        (busy_span.attributes or {})["error.type"],
    ) == (
        StatusCode.ERROR,
        "503",
    )
    assert (refused.status.status_code, (refused.attributes or {})["error.type"]) == (
        StatusCode.ERROR,
        f"{httpx.__name__}.ConnectError",
    )
    assert [event.name for event in refused.events] == ["exception"]
    assert "s3cret" not in str(refused.to_json())


@pytest.mark.promise("HTTP-08")
@KINDS
def test_a_raising_hook_is_not_felt(
    kind: str, spans: SpanRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; the response arrives; a hook that works sees span, request and response."""
    seen: list[Any] = []

    def note(span: Any, request: httpx.Request, response: httpx.Response) -> None:
        seen.append((request.method, response.status_code))
        raise RuntimeError("hook")

    def broken(span: Any, request: httpx.Request) -> None:
        raise RuntimeError("hook")

    instrument_httpx(on_start=broken, on_end=note)
    with caplog.at_level(logging.ERROR, logger="obs_core"):
        assert fetch("http://shop/", kind, transport=own()).status_code == 200
    assert seen == [("GET", 200)]
    assert spans.one("GET").status.status_code is StatusCode.UNSET


@pytest.mark.promise("HTTP-08")
@KINDS
def test_a_failing_propagator_is_not_felt(
    kind: str, spans: SpanRecorder, break_propagator: Callable[[], None]
) -> None:
    """The request goes out without its headers."""
    instrument_httpx()
    break_propagator()
    assert fetch("http://shop/", kind, transport=own()).status_code == 200
    assert len(spans) == 1


@pytest.mark.promise("HTTP-08")
@KINDS
def test_one_client_alone(kind: str, spans: SpanRecorder) -> None:
    """The others stay untraced; all and one together make one span; its uninstrument puts the very methods back."""
    cls = httpx.Client if kind == "sync" else httpx.AsyncClient
    mine, other = cls(transport=own()), cls(transport=own())

    def get(client: Any) -> None:
        answer = client.get("http://shop/")
        if kind == "async":
            asyncio.run(_await(answer))

    handle = instrument_httpx(mine)
    get(mine)
    get(other)
    assert len(spans) == 1
    instrument_httpx()
    get(mine)
    assert len(spans) == 2
    uninstrument_httpx()
    handle.uninstrument()
    assert not {"send", "_send_single_request"} & set(vars(mine))
    get(mine)
    assert len(spans) == 2


async def _await(answer: Any) -> None:
    await answer


@pytest.mark.promise("HTTP-08")
def test_headers_exclusions_and_where_the_trace_goes(spans: SpanRecorder) -> None:
    """Captured headers are masked; excluded URLs get neither span nor headers; other hosts get no headers of ours."""
    instrument_httpx(
        capture_request_headers=["*"],
        capture_response_headers=["content-*"],
        exclude=["http://search/*"],
        propagate_to=["*.internal"],
        correlation=CorrelationConfig(headers=["X-Req"]),
    )
    with (
        httpx.Client(transport=own(), headers={"Authorization": "Bearer t"}) as client,
        correlation_scope("c-1"),
    ):
        inside, outside = (
            client.get("http://shop.internal/").json(),
            client.get("http://llm.example/").json(),
        )
        excluded = client.get("http://search/a").json()
    assert (inside["x-req"], "traceparent" in inside) == ("c-1", True)
    assert not {"traceparent", "baggage", "x-req"} & (set(outside) | set(excluded))
    assert len(spans) == 2
    attributes = spans.finished[0].attributes or {}
    assert attributes["http.request.header.authorization"] == ("[REDACTED]",)
    assert attributes["http.response.header.content-type"] == ("application/json",)


@pytest.mark.promise("HTTP-08")
def test_a_header_that_the_application_set_is_kept() -> None:
    """Its own correlation id goes out."""
    instrument_httpx()
    with httpx.Client(transport=own()) as client, correlation_scope("c-1"):
        assert (
            client.get("http://shop/", headers={"X-Correlation-ID": "mine"}).json()[
                "x-correlation-id"
            ]
            == "mine"
        )


@pytest.mark.promise("HTTP-08")
@KINDS
@pytest.mark.parametrize("part", ["on_start", "on_end"])
def test_a_failing_span_processor_is_not_felt(kind: str, part: str) -> None:
    """On a plain SDK provider as well, which contains nothing."""

    class Failing(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            assert part != "on_start"

        def on_end(self, span: Any) -> None:
            assert part != "on_end"

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Failing())
    instrument_httpx(tracer_provider=provider)
    app = application()
    app.add_middleware(RequestTracingMiddleware, tracer_provider=provider)
    assert fetch("http://shop/", kind, transport=own()).status_code == 200
    assert (
        fetch(
            "http://shop/headers", "async", transport=httpx.ASGITransport(app)
        ).status_code
        == 200
    )


@pytest.mark.promise("HTTP-08")
@KINDS
def test_an_httpx_without_its_one_place_to_send_from(
    kind: str, spans: SpanRecorder
) -> None:
    """Not ``_send_single_request``, which is private: a call is then one span, and carries the trace on all the same."""

    def answer(request: httpx.Request) -> httpx.Response:
        to = httpx.Response(307, headers={"location": "/headers"})
        return (
            to
            if request.url.path == "/"
            else httpx.Response(200, json=dict(request.headers))
        )

    def fails(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("gone")

    with elsewhere():
        instrument_httpx()
        carried = fetch(
            "http://shop/", kind, transport=httpx.MockTransport(answer)
        ).json()
        with pytest.raises(httpx.ReadError):
            fetch("http://shop/", kind, transport=httpx.MockTransport(fails))
        with httpx.Client(transport=httpx.MockTransport(answer)) as client:
            assert (
                client.send(
                    request=client.build_request("GET", "http://shop/headers")
                ).status_code
                == 200
            )
        uninstrument_httpx()
    sent, failed, _ = spans.finished
    assert carried["traceparent"].split("-")[2] == f"{sent.context.span_id:016x}"
    assert (sent.attributes or {})["http.response.status_code"] == 200
    assert (failed.attributes or {})["error.type"] == f"{httpx.__name__}.ReadError"


@contextmanager
def elsewhere() -> Iterator[None]:
    """Give httpx's one place another name, as a version of it may."""

    class Renamed(ast.NodeTransformer):
        def visit_Attribute(self, node: ast.Attribute) -> ast.Attribute:
            self.generic_visit(node)
            node.attr = (
                "_elsewhere" if node.attr == "_send_single_request" else node.attr
            )
            return node

    with pytest.MonkeyPatch.context() as patch:
        for cls in (httpx.Client, httpx.AsyncClient):
            name = "_send_handling_redirects"
            module = Renamed().visit(
                ast.parse(textwrap.dedent(inspect.getsource(vars(cls)[name])))
            )
            made: dict[str, Any] = {}
            exec(
                compile(ast.fix_missing_locations(module), "httpx", "exec"),
                vars(httpx._client),
                made,
            )
            patch.setattr(cls, name, made[name])
            patch.setattr(
                cls, "_elsewhere", vars(cls)["_send_single_request"], raising=False
            )
            patch.delattr(cls, "_send_single_request")
        yield


def test_what_is_no_client_is_refused() -> None:
    """With what was given; so is a string where a list is wanted."""
    with pytest.raises(ConfigurationError, match="exclude"):
        instrument_httpx(exclude="http://search/*")
    with pytest.raises(ConfigurationError, match="'client'"):
        instrument_httpx("client")  # type: ignore[arg-type]
