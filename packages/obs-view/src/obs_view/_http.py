"""The OTLP/HTTP endpoint: accepted requests, and the answers to rejected requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from google.protobuf import json_format
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from obs_view._bad_records import LOGS, METRICS, SPANS, BadRequestError, Signal
from obs_view._otlp import ENCODINGS, JSON, PROTOBUF, decompress, parse, status_message
from obs_view._receive import receive
from obs_view._store import Store

MAX_BODY_BYTES = 20 * 1024 * 1024
_INVALID_ARGUMENT, _RESOURCE_EXHAUSTED = 3, 8
_CODES = {413: _RESOURCE_EXHAUSTED}


def otlp_routes(store: Store) -> list[Route]:
    """Return the routes that OTLP exporters post to."""
    return [
        Route("/v1/traces", _export(store, SPANS), methods=["POST"]),
        Route("/v1/logs", _export(store, LOGS), methods=["POST"]),
        Route("/v1/metrics", _export(store, METRICS), methods=["POST"]),
    ]


def _export(store: Store, signal: Signal) -> Callable[[Request], Awaitable[Response]]:
    async def export(request: Request) -> Response:
        content_type = (
            request.headers.get("content-type", "").partition(";")[0].strip().lower()
        )
        try:
            body = await _body(request)
            result = await run_in_threadpool(_accept, store, body, content_type, signal)
        except BadRequestError as error:
            return _refused(error, content_type)
        return Response(result, media_type=content_type)

    return export


def _refused(error: BadRequestError, content_type: str) -> Response:
    answered = JSON if content_type == JSON else PROTOBUF
    code = _CODES.get(error.status, _INVALID_ARGUMENT)
    message = status_message(code, str(error), answered)
    return Response(message, error.status, media_type=answered)


async def _body(request: Request) -> bytes:
    encoding = request.headers.get("content-encoding", "").strip().lower() or "identity"
    if encoding not in ENCODINGS:
        raise BadRequestError(
            415,
            f"content encoding {encoding!r} is not supported: send gzip, deflate or none",
        )
    body, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        # read on, so that a client that is still sending gets to see the answer
        if size > 8 * MAX_BODY_BYTES:
            break
        if size <= MAX_BODY_BYTES:
            body += chunk
    if size > MAX_BODY_BYTES:
        raise BadRequestError(
            413, f"the body has more than {MAX_BODY_BYTES} bytes: send smaller batches"
        )
    return decompress(bytes(body), encoding, MAX_BODY_BYTES)


def _accept(store: Store, body: bytes, content_type: str, signal: Signal) -> bytes:
    answer = receive(store, parse(body, content_type, signal), signal)
    if content_type == JSON:
        return str(json_format.MessageToJson(answer)).encode()
    return bytes(answer.SerializeToString())
