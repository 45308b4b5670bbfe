"""The same answer by every way in: one table of ways in, kinds of application, FastAPI's own tracing, and what happens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from obs_core.integration import error_type
from obs_core.testing import SpanRecorder
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import SpanKind
from opentelemetry.util._once import Once

from .ways_in import APPLICATIONS, HAS_NATIVE, VALUES, WAYS, Client, NoSuchItemError

ERROR = error_type(NoSuchItemError)
LEFT = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "a"}]


@dataclass(frozen=True)
class Event:
    """Something that happens to a request, and what is to be seen of it.

    Attributes:
        path: The route's template and the path asked for, below any mount.
        kind: ``http`` or ``websocket``.
        client: The options of its client.
        failed: Which span has failed, and as what: the SERVER span or the background task's.
        recorded: Whether there is a record of an exception.
        status: ``http.response.status_code`` of the SERVER span; None: whatever it is.
        raises: What comes out of the application: one of these types.
        attributes: More that the SERVER span has.
    """

    path: tuple[str, str]
    kind: str = "http"
    client: dict[str, Any] = field(default_factory=dict)
    failed: tuple[str, str] | None = None
    recorded: bool = False
    status: int | None = None
    raises: tuple[str, ...] = ("NoneType",)
    attributes: dict[str, Any] = field(default_factory=dict)


def leaves(code: int) -> dict[str, Any]:
    return {"messages": [*LEFT, {"type": "websocket.disconnect", "code": code}]}


GONE = {"obs.disconnected": True}
EVENTS = {
    "an answer": Event(("/items/{item}", "/items/1"), status=200),
    "the handler raises": Event(
        ("/raises/{item}", "/raises/1"),
        failed=("server", ERROR),
        recorded=True,
        status=500,
        raises=(ERROR,),
    ),
    "the handler answers 503": Event(
        ("/answers-503/{item}", "/answers-503/1"), failed=("server", "503"), status=503
    ),
    "a background task raises": Event(
        ("/raises-late/{item}", "/raises-late/1"),
        failed=("background", ERROR),
        recorded=True,
        status=200,
        raises=(ERROR,),
    ),
    "a stream raises": Event(
        ("/stream/{item}", "/stream/fails"),
        client={"by_error": True},
        failed=("server", ERROR),
        recorded=True,
        status=200,
        # Starlette before 0.38 raises it in the group of its task group
        raises=(ERROR, "exceptiongroup.ExceptionGroup", "ExceptionGroup"),
    ),
    "a client leaves a stream": Event(
        ("/stream/{item}", "/stream/waits"),
        client={"leaves": 2},
        status=200,
        attributes=GONE,
    ),
    "a WebSocket's handler raises": Event(
        ("/refuse/{room}", "/refuse/1"),
        kind="websocket",
        client={"messages": [*LEFT]},
        failed=("server", ERROR),
        recorded=True,
        raises=(ERROR,),
    ),
    **{
        f"a client leaves a WebSocket, {code}": Event(
            ("/listen/{room}", "/listen/1"),
            kind="websocket",
            client=leaves(code),
            raises=("starlette.websockets.WebSocketDisconnect",),
            attributes=GONE,
        )
        for code in (1000, 1005, 1006)
    },
}
BY = [
    (way, app, native)
    for way in WAYS
    for app in APPLICATIONS
    for native in (True, False)
]
TABLE = [
    pytest.param(
        *by, what, id=f"{by[0]}, {by[1]}, {'native' if by[2] else 'native off'}, {what}"
    )
    for by in BY
    for what in EVENTS
    if (HAS_NATIVE and "FastAPI" in by[1]) or not by[2]
]


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> InMemoryMetricReader:
    """What the global MeterProvider of the test has measured, FastAPI's own histogram included."""
    made, once = InMemoryMetricReader(), Once()
    once.do_once(lambda: None)
    monkeypatch.setattr(
        "opentelemetry.metrics._internal._METER_PROVIDER_SET_ONCE", once
    )
    provider = MeterProvider([made], shutdown_on_exit=False)
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", provider)
    assert metrics.get_meter_provider() is provider
    return made


def measured(reader: InMemoryMetricReader) -> list[dict[str, Any]]:
    """Return the attributes of each series of the duration histogram."""
    data = reader.get_metrics_data()
    return [
        dict(point.attributes or {})
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "http.server.request.duration"
        for point in metric.data.data_points
    ]


def failures(spans: SpanRecorder) -> dict[str, Any]:
    """Return ``error.type`` of the SERVER span and of the background task's, by place; None: no error."""
    found: dict[str, Any] = {"server": None, "background": None}
    for span in (span for span in spans if span.status.status_code.name == "ERROR"):
        place = (
            "server" if span.kind is SpanKind.SERVER else span.name.rpartition(".")[2]
        )
        if (
            place != "endpoint"
        ):  # FastAPI's own span of the handler, below the SERVER span
            found[place.removesuffix("_task")] = (span.attributes or {}).get(
                "error.type"
            )
    return found


@pytest.mark.promise("HTTP-11")
# Starlette's BaseHTTPMiddleware before 0.40 leaves a stream of anyio's open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("way", "application", "native", "what"), TABLE)
def test_the_same_answer_by_every_way_in(
    way: str,
    application: str,
    native: bool,
    what: str,
    spans: SpanRecorder,
    reader: InMemoryMetricReader,
) -> None:
    """One SERVER span with the whole template; one record of an exception, with its stack; a client that goes is no error."""
    event, (build, prefix) = EVENTS[what], APPLICATIONS[application]

    async def run() -> BaseException | None:
        client = Client(
            **{**event.client, "messages": [*event.client.get("messages", ())]}
        )
        with WAYS[way](build(native)) as app:
            return await client.ask(app, VALUES[prefix] + event.path[1], event.kind)

    is_below_base = "BaseHTTPMiddleware" in way + application
    # it completes the response of a stream that fails, and raises after it
    is_late = what == "a stream raises" and is_below_base
    came_out = asyncio.run(run())
    if came_out is None and is_below_base and event.recorded:
        pytest.skip(
            "this Starlette's BaseHTTPMiddleware swallows what comes after a response"
        )
    assert error_type(type(came_out)) in event.raises
    (server,) = [span for span in spans if span.kind is SpanKind.SERVER]
    said = dict(server.attributes or {})
    method = "GET" if event.kind == "http" else "WS"
    assert (server.name, said["http.route"]) == (
        f"{method} {prefix}{event.path[0]}",
        prefix + event.path[0],
    )
    assert event.status in (None, said.get("http.response.status_code"))
    assert event.attributes.items() <= said.items()
    assert said["correlation_id"]

    records = [
        dict(record.attributes or {}) for span in spans for record in span.events
    ]
    assert len(records) == event.recorded
    for record in records:
        assert record["exception.type"] in event.raises
        assert 'ways_in.py", line' in record["exception.stacktrace"]
    place, failure = event.failed or ("server", None)
    if records:
        failure = records[0]["exception.type"]
    if is_late:
        assert failure in failures(spans).values()
    else:
        assert failures(spans) == {"server": None, "background": None, place: failure}
    names = {
        span.name
        for span in spans
        if span is not server and span.kind is SpanKind.INTERNAL
    }
    ours = {"background"} if place == "background" or is_late else set()
    assert {name for name in names if not name.startswith("fastapi.")} <= ours
    if event.kind == "http" and not is_late:
        (series,) = measured(reader)
        assert (series.get("error.type"), series["http.route"]) == (
            said.get("error.type"),
            said["http.route"],
        )
