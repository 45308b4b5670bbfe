"""Hooks of servers: what they are given, by every way in, and what it costs a request if one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from obs_core.exceptions import ConfigurationError
from obs_core.testing import SpanRecorder
from obs_http import RequestTracingMiddleware, instrument_fastapi
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind
from starlette.applications import Starlette

from .server.ways_in import APPLICATIONS, HAS_NATIVE, WAYS, Client, fastapi, starlette

pytestmark = pytest.mark.promise("HTTP-17")
#: The tool starts everything with the default options.
WITH_OPTIONS = [name for name in WAYS if name != "opentelemetry-instrument"]
KINDS: dict[str, Callable[[], Any]] = {
    "FastAPI traces": lambda: fastapi(True),
    "FastAPI traces not": lambda: fastapi(False),
    "Starlette": lambda: starlette(False),
}
if not HAS_NATIVE:
    del KINDS["FastAPI traces"]


class Seen:
    """Two hooks, and what they have seen."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.started: list[tuple[str, str, bool]] = []
        self.ended: list[tuple[str, str, Any]] = []

    def on_start(self, span: Span, scope: Any) -> None:
        current = trace.get_current_span() is span
        self.started.append((scope["type"], scope["path"], current))
        span.set_attribute("shop.hook", "start")
        if self.fails:
            raise ValueError("a hook")

    def on_end(self, span: Span, scope: Any, message: Any) -> None:
        self.ended.append((scope["path"], message["type"], message.get("status")))
        span.set_attribute("shop.tier", "gold")
        if self.fails:
            raise ValueError("a hook")


def ask(way: str, app: Any, path: str, *, kind: str = "http", **options: Any) -> Client:
    client = Client()
    if kind == "websocket":
        client.messages = [
            {"type": "websocket.connect"},
            {"type": "websocket.disconnect", "code": 1000},
        ]
    with WAYS[way](app, **options) as served:
        asyncio.run(client.ask(served, path, kind))
    return client


def server(spans: SpanRecorder) -> Any:
    (found,) = [span for span in spans.finished if span.kind is SpanKind.SERVER]
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WITH_OPTIONS)
def test_the_hooks_see_a_request_by_every_way_in(
    way: str, kind: str, spans: SpanRecorder
) -> None:
    """Once each: the span is current at the start; the answer's first message is there before the span ends."""
    seen = Seen()
    ask(
        way,
        KINDS[kind](),
        "/items/7",
        on_start=seen.on_start,
        on_end=seen.on_end,
    )
    assert seen.started == [("http", "/items/7", True)]
    assert seen.ended == [("/items/7", "http.response.start", 200)]
    attributes = server(spans).attributes
    assert (attributes["shop.hook"], attributes["shop.tier"]) == ("start", "gold")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["instrument_fastapi(app)", "instrument_fastapi()"])
def test_the_answer_to_an_exception_is_seen(
    way: str, kind: str, spans: SpanRecorder
) -> None:
    """Though it is written around all middlewares."""
    seen = Seen()
    ask(way, KINDS[kind](), "/raises/7", on_end=seen.on_end)
    assert seen.ended == [("/raises/7", "http.response.start", 500)]
    assert server(spans).attributes["shop.tier"] == "gold"


def test_a_websocket_session(spans: SpanRecorder) -> None:
    """The end is the answer to the handshake, as a request's is the answer's first message."""
    seen = Seen()
    app = starlette(False)
    hooks = {"on_start": seen.on_start, "on_end": seen.on_end}
    ask("RequestTracingMiddleware(app)", app, "/listen/1", kind="websocket", **hooks)
    assert seen.started == [("websocket", "/listen/1", True)]
    assert seen.ended == [("/listen/1", "websocket.accept", None)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WITH_OPTIONS)
def test_a_hook_that_raises_changes_nothing(
    way: str, kind: str, spans: SpanRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The response is that without hooks, to the byte; it is logged."""
    seen = Seen(fails=True)
    hooks = {
        "on_start": seen.on_start,
        "on_end": seen.on_end,
        "response_headers": False,
    }
    answers = ask(way, KINDS[kind](), "/items/7", **hooks).answers
    plain = ask(way, KINDS[kind](), "/items/7", response_headers=False).answers
    assert answers == plain
    assert len(seen.started) == len(seen.ended) == 1
    assert "a hook" in caplog.text


def test_not_called_for_what_is_not_recorded(spans: SpanRecorder) -> None:
    """Excluded paths, and requests that are not sampled."""
    seen = Seen()
    hooks = {"on_start": seen.on_start, "on_end": seen.on_end}
    ask("RequestTracingMiddleware(app)", starlette(False), "/health", **hooks)
    nobody = {**hooks, "tracer_provider": trace.NoOpTracerProvider()}
    ask("RequestTracingMiddleware(app)", starlette(False), "/items/7", **nobody)
    assert seen.started == seen.ended == []


@pytest.mark.parametrize("option", ["on_start", "on_end"])
@pytest.mark.parametrize(
    "use",
    [
        lambda **given: RequestTracingMiddleware(Starlette(), **given),
        lambda **given: instrument_fastapi(Starlette(), **given),
    ],
    ids=["RequestTracingMiddleware", "instrument_fastapi"],
)
def test_what_cannot_be_called_is_an_error_at_set_up(
    use: Callable[..., Any], option: str
) -> None:
    """A coroutine function too: the messages of ASGI go on at once."""

    async def hook(*_: Any) -> None: ...

    with pytest.raises(ConfigurationError, match=f"{option}='hook'"):
        use(**{option: "hook"})
    with pytest.raises(ConfigurationError, match="pass a plain function"):
        use(**{option: hook})


def test_one_hook_for_all_applications_of_a_process(spans: SpanRecorder) -> None:
    """A mounted application makes no second call."""
    seen = Seen()
    build, _ = APPLICATIONS["FastAPI in Starlette"]
    ask(
        "instrument_fastapi()", build(False), "/shops/1/items/7", on_start=seen.on_start
    )
    assert seen.started == [("http", "/shops/1/items/7", True)]
