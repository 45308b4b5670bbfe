"""Applications, each with the same routes, and each way to trace them; a client that speaks ASGI itself.

The routes are below ``/shops/{shop}`` where the application is mounted in another one, so that a template has a value to hide.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import BackgroundTasks, FastAPI, HTTPException
from obs_core import TracingConfig, setup_tracing
from obs_http import RequestTracingMiddleware, instrument_fastapi, uninstrument_fastapi
from obs_http._otel import ApplicationInstrumentor
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.convertors import UUIDConvertor
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

HAS_NATIVE = "telemetry" in FastAPI.__init__.__annotations__
Message = dict[str, Any]
Headers = Sequence[tuple[bytes, bytes]]


class NoSuchItemError(Exception):
    """What the handlers raise."""


def late() -> None:
    raise NoSuchItemError("mailbox full")


async def chunks(fails: bool) -> AsyncIterator[bytes]:
    yield b"first"
    if fails:
        raise NoSuchItemError("lost the database")
    await asyncio.sleep(3600)


async def listen(socket: WebSocket) -> None:
    await socket.accept()
    while True:
        await socket.send_text(await socket.receive_text())


async def refuse(socket: WebSocket) -> None:
    await socket.accept()
    raise NoSuchItemError("no room")


def fastapi(native: bool) -> FastAPI:
    """Return a FastAPI application with all routes."""
    app = FastAPI(**({"telemetry": {"tracing": native}} if HAS_NATIVE else {}))

    @app.get("/items/{item}")
    async def item(item: str) -> str:
        return item

    @app.get("/raises/{item}")
    async def raises(item: str) -> None:
        raise NoSuchItemError("no such item")

    @app.get("/answers-503/{item}")
    async def answers_503(item: str) -> None:
        raise HTTPException(503)

    @app.get("/raises-late/{item}")
    async def raises_late(item: str, tasks: BackgroundTasks) -> str:
        tasks.add_task(late)
        return item

    @app.get("/stream/{item}")
    async def stream(item: str) -> StreamingResponse:
        return StreamingResponse(chunks(item == "fails"))

    @app.websocket("/listen/{room}")
    async def listening(socket: WebSocket, room: str) -> None:
        await listen(socket)

    @app.websocket("/refuse/{room}")
    async def refusing(socket: WebSocket, room: str) -> None:
        await refuse(socket)

    return app


def starlette(native: bool) -> Starlette:
    """Return a Starlette application with all routes."""

    async def item(request: Request) -> Response:
        return PlainTextResponse("ok")

    async def raises(request: Request) -> Response:
        raise NoSuchItemError("no such item")

    async def answers_503(request: Request) -> Response:
        raise StarletteHTTPException(503)

    async def raises_late(request: Request) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(late))

    async def stream(request: Request) -> Response:
        return StreamingResponse(chunks(request.path_params["item"] == "fails"))

    routes = [
        Route("/items/{item}", item),
        Route("/raises/{item}", raises),
        Route("/answers-503/{item}", answers_503),
        Route("/raises-late/{item}", raises_late),
        Route("/stream/{item}", stream),
        WebSocketRoute("/listen/{room}", listen),
        WebSocketRoute("/refuse/{room}", refuse),
    ]
    return Starlette(routes=routes)


def mounted(
    outer: Callable[[bool], Any],
    inner: Callable[[bool], Any],
    path: str = "/shops/{shop}",
) -> Callable[[bool], Any]:
    """Return what builds `outer` with `inner` below `path`."""

    def build(native: bool) -> Any:
        app = outer(native)
        app.router.routes.append(Mount(path, app=inner(native)))
        return app

    return build


class PassOn(BaseHTTPMiddleware):
    """A user's middleware: the application below it runs in a task of its own."""

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        answer: Response = await call_next(request)
        return answer


def within_base(build: Callable[[bool], Any]) -> Callable[[bool], Any]:
    """Return what builds the same with a user's BaseHTTPMiddleware in it."""

    def with_base(native: bool) -> Any:
        app = build(native)
        app.add_middleware(PassOn)
        return app

    return with_base


APPLICATIONS: dict[str, tuple[Callable[[bool], Any], str]] = {
    "FastAPI": (fastapi, ""),
    "Starlette": (starlette, ""),
    "FastAPI in FastAPI": (mounted(fastapi, fastapi), "/shops/{shop}"),
    "Starlette in FastAPI": (mounted(fastapi, starlette), "/shops/{shop}"),
    "FastAPI in Starlette": (mounted(starlette, fastapi), "/shops/{shop}"),
    "FastAPI in FastAPI twice": (
        mounted(fastapi, mounted(fastapi, fastapi, "/v1/{shop:int}"), "/by/{key:uuid}"),
        "/by/{key}/v1/{shop}",
    ),
    "BaseHTTPMiddleware in FastAPI": (within_base(fastapi), ""),
    "FastAPI in BaseHTTPMiddleware": (
        within_base(mounted(fastapi, fastapi)),
        "/shops/{shop}",
    ),
}
# Starlette's converter before 0.43 takes lower case alone
_UUID = "0E8F7D8A-0000-4000-8000-00000000ABCD"
UUID = _UUID if re.fullmatch(UUIDConvertor.regex, _UUID) else _UUID.lower()
VALUES = {
    "/shops/{shop}": "/shops/007",
    "/by/{key}/v1/{shop}": f"/by/{UUID}/v1/007",
    "": "",
}


@contextmanager
def added(app: Any, **options: Any) -> Iterator[Any]:
    _, (cls, more) = setup_tracing(
        TracingConfig(service_name="t"), on_existing_provider="skip"
    )
    app.add_middleware(cls, **{**more, **options})
    yield app


@contextmanager
def added_below_a_base(app: Any, **options: Any) -> Iterator[Any]:
    app.add_middleware(RequestTracingMiddleware, **options)
    app.add_middleware(PassOn)
    yield app


@contextmanager
def instrumented(app: Any, **options: Any) -> Iterator[Any]:
    instrument_fastapi(app, **options)
    yield app
    uninstrument_fastapi(app)


@contextmanager
def instrumented_all(app: Any, **options: Any) -> Iterator[Any]:
    instrument_fastapi(**options)
    yield app
    uninstrument_fastapi()


@contextmanager
def outside(app: Any, **options: Any) -> Iterator[Any]:
    yield RequestTracingMiddleware(app, **options)


@contextmanager
def by_the_tool(app: Any, **options: Any) -> Iterator[Any]:
    assert not options
    ApplicationInstrumentor().instrument()
    yield app
    ApplicationInstrumentor().uninstrument()


WAYS: dict[str, Callable[..., Any]] = {
    "add_middleware": added,
    "add_middleware below BaseHTTPMiddleware": added_below_a_base,
    "instrument_fastapi(app)": instrumented,
    "instrument_fastapi()": instrumented_all,
    "RequestTracingMiddleware(app)": outside,
    "opentelemetry-instrument": by_the_tool,
}


@dataclass
class Client:
    """One client of an ASGI server.

    Attributes:
        leaves: After so many messages of the application the client has gone; None: it stays.
        by_error: A client that has gone is told by an OSError out of `send` (ASGI 2.4), not by a message.
        messages: What a WebSocket's client sends.
        answers: What the application has sent.
    """

    leaves: int | None = None
    by_error: bool = False
    messages: list[Message] = field(default_factory=list)
    answers: list[Message] = field(default_factory=list)
    _gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Message:
        if self.messages:
            return self.messages.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self._gone.is_set() and self.by_error:
            raise OSError("the client has gone")
        self.answers.append(message)
        if self.leaves is not None and len(self.answers) >= self.leaves:
            self._gone.set()

    async def ask(
        self, app: Any, path: str, kind: str = "http", headers: Headers = ()
    ) -> BaseException | None:
        """Start `app` and send one request or session; return what came out of the application."""
        await _start(app)
        scope = {
            "type": kind,
            "asgi": {
                "version": "3.0",
                "spec_version": "2.4" if self.by_error else "2.3",
            },
            "http_version": "1.1",
            "scheme": "http" if kind == "http" else "ws",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"shop"), *headers],
            "client": ("127.0.0.1", 1),
            "server": ("shop", 80),
            "state": {},
        }
        if kind == "http":
            scope["method"] = "GET"
            self.messages.append(
                {"type": "http.request", "body": b"", "more_body": False}
            )
        try:
            await asyncio.wait_for(app(scope, self.receive, self.send), 30)
        except Exception as error:
            return error
        return None


async def _start(app: Any) -> None:
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Message:
        return next(messages)

    async def send(message: Any) -> None:
        assert message["type"].endswith(".complete"), message

    await app(
        {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send
    )
