"""Serves the web page (`static/`), and the API that the page calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from obs_view._log_search import find_logs
from obs_view._metric_search import find_metrics
from obs_view._operations import operations
from obs_view._page_data import page_data
from obs_view._search import find
from obs_view._store import Store

Find = Callable[[Store, Mapping[str, str]], dict[str, Any]]
_ENCODER = json.JSONEncoder(
    separators=(",", ":"), allow_nan=False, check_circular=False, ensure_ascii=False
)
_STATIC = Path(__file__).parent / "static"


def web_routes(store: Store, grpc_port: Callable[[], int]) -> list[BaseRoute]:
    """Return the routes of the page: files, and ``/api``; the page shows `grpc_port` in the first steps."""
    api = _Api(store)

    async def receiver(request: Request) -> Response:
        return _json({"grpc_port": grpc_port()})

    return [
        Route("/api/traces", api.traces, methods=["GET"]),
        Route("/api/traces", api.clear, methods=["DELETE"]),
        Route("/api/receiver", receiver, methods=["GET"]),
        Route("/api/operations", api.operations, methods=["GET"]),
        Route("/api/logs", api.logs, methods=["GET"]),
        Route("/api/metrics", api.metrics, methods=["GET"]),
        Route("/api/traces/{trace_id}", api.trace, methods=["GET"]),
        Route("/api/traces/{trace_id}/otlp", api.otlp, methods=["GET"]),
        Route("/", _page, methods=["GET"]),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]


async def _page(request: Request) -> Response:
    return FileResponse(_STATIC / "index.html")


class _Api:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def traces(self, request: Request) -> Response:
        return await self._found(find, request, str(self._store.sequence))

    async def operations(self, request: Request) -> Response:
        return await self._found(operations, request, str(self._store.sequence))

    async def logs(self, request: Request) -> Response:
        return await self._found(find_logs, request, str(self._store.logs.sequence))

    async def metrics(self, request: Request) -> Response:
        sequence = str(self._store.metrics.sequence)
        return await self._found(find_metrics, request, sequence)

    async def _found(self, function: Find, request: Request, sequence: str) -> Response:
        if request.query_params.get("after") == sequence:
            return Response(status_code=204)
        try:
            return _json(
                await run_in_threadpool(function, self._store, request.query_params)
            )
        except ValueError as error:
            return _json({"error": str(error)}, 400)

    async def clear(self, request: Request) -> Response:
        await run_in_threadpool(self._store.clear)
        return Response(status_code=204)

    async def trace(self, request: Request) -> Response:
        trace_id, query = request.path_params["trace_id"], request.query_params
        if query.get("after") == str(self._store.newest(self._store.linked(trace_id))):
            return Response(status_code=204)
        page = await run_in_threadpool(
            page_data, self._store, trace_id, query.get("linked") == "true"
        )
        return _json(page) if page else _not_here()

    async def otlp(self, request: Request) -> Response:
        trace_id = request.path_params["trace_id"]
        exported = self._store.export(trace_id)
        if not exported:
            return _not_here()
        answer = _json(exported)
        answer.headers["Content-Disposition"] = (
            f'attachment; filename="trace-{trace_id.lower()}.json"'
        )
        return answer


def _not_here() -> Response:
    return _json(
        {"error": "no such trace: it was never here, or has been forgotten"}, 404
    )


def _json(value: Any, status: int = 200) -> Response:
    return Response(_ENCODER.encode(value), status, media_type="application/json")
