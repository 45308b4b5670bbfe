"""Traces made by hand."""

from __future__ import annotations

from obs_view import Event, Link, Span, Trace

MS = 1_000_000
T = "4bf92f3577b34da6a3ce929d0e0e4736"


def span(
    number: int,
    parent: int,
    name: str,
    start_ms: float,
    end_ms: float,
    **fields: object,
) -> Span:
    """A span of `service` ``shop`` with ids made of `number` and `parent` (0: a root), times from a fixed moment."""
    base = 1_700_000_000_000 * MS
    parent_id = f"{parent:016x}" if parent else ""
    values: dict[str, object] = {
        "service": "shop",
        "kind": "INTERNAL",
        "status": "UNSET",
        "description": "",
        "attributes": {},
        "resource": {},
        "scope": "test",
        "parent_id": parent_id,
        "start_time": base + int(start_ms * MS),
        "end_time": base + int(end_ms * MS),
        **fields,
    }
    return Span(name=name, trace_id=T, span_id=f"{number:016x}", **values)  # type: ignore[arg-type]


def failure(kind: str, message: str) -> tuple[Event, ...]:
    """A recorded exception."""
    return (
        Event("exception", 0, {"exception.type": kind, "exception.message": message}),
    )


def orders() -> Trace:
    """A request whose task fails and is tried again, in two services."""
    after = (Link(T, f"{4:016x}", {}),)
    elsewhere = (Link("a" * 32, "b" * 16, {}),)
    task = {"service": "worker", "kind": "CONSUMER"}
    request = {"http.response.status_code": 202, "correlation_id": "c-1"}
    return Trace(
        [
            span(1, 0, "POST /orders", 0, 100, kind="SERVER", attributes=request),
            span(2, 1, "INSERT orders", 10, 30, kind="CLIENT"),
            span(3, 1, "publish charge", 40, 41, kind="PRODUCER"),
            span(
                4,
                3,
                "charge",
                50,
                100,
                events=failure("CardError", "declined"),
                attributes={"celery.retries": 0},
                **task,
            ),
            span(
                5,
                3,
                "charge",
                150,
                200,
                attributes={"celery.retries": 1},
                links=after,
                **task,
            ),
            span(
                6,
                5,
                "POST",
                160,
                190,
                status="ERROR",
                kind="CLIENT",
                service="worker",
                attributes={"error.type": "503"},
            ),
            span(
                7,
                5,
                "body",
                160,
                170,
                status="ERROR",
                description="no luck",
                service="worker",
                links=elsewhere,
            ),
        ]
    )
