"""The OTLP/HTTP end: what it accepts, and how it says no."""

from __future__ import annotations

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from obs_view._otlp import ENCODINGS, JSON, PROTOBUF, decompress, parse, status_message
from obs_view._request import BadRequestError, Parsed
from obs_view._store import Store
from obs_view._text import plural

MAX_BODY_BYTES = 20 * 1024 * 1024
_INVALID_ARGUMENT, _RESOURCE_EXHAUSTED = 3, 8


def otlp_routes(store: Store) -> list[Route]:
    """Return the routes that OTLP exporters post to.

    Metrics and logs are accepted and thrown away, so that a service which sends all three signals here sees no errors.
    """

    async def traces(request: Request) -> Response:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            body = await _body(request)
            result = await run_in_threadpool(_accept, store, body, content_type)
        except BadRequestError as error:
            answered = JSON if content_type == JSON else PROTOBUF
            code = _RESOURCE_EXHAUSTED if error.status == 413 else _INVALID_ARGUMENT
            return Response(
                status_message(code, str(error), answered), error.status, media_type=answered
            )
        return Response(result, media_type=content_type)

    async def unseen(request: Request) -> Response:
        content_type = request.headers.get("content-type", PROTOBUF)
        return Response(b"{}" if content_type.startswith(JSON) else b"", media_type=content_type)

    return [
        Route("/v1/traces", traces, methods=["POST"]),
        Route("/v1/metrics", unseen, methods=["POST"]),
        Route("/v1/logs", unseen, methods=["POST"]),
    ]


async def _body(request: Request) -> bytes:
    encoding = request.headers.get("content-encoding", "").strip().lower() or "identity"
    if encoding not in ENCODINGS:
        raise BadRequestError(
            415, f"content encoding {encoding!r} is not supported: send gzip, deflate or none"
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


def _accept(store: Store, body: bytes, content_type: str) -> bytes:
    answer = receive(store, parse(body, content_type))
    encoded: bytes = (
        json_format.MessageToJson(answer).encode()
        if content_type == JSON
        else answer.SerializeToString()
    )
    return encoded


def receive(store: Store, parsed: Parsed) -> ExportTraceServiceResponse:
    """Store the request's spans; the answer tells the sender how many were rejected, and why."""
    answer = ExportTraceServiceResponse()
    without_ids = store.add(parsed.request)
    reasons = []
    if without_ids:
        spans = plural(without_ids, "span")
        reasons.append(f"{spans} without a valid trace id (16 bytes) and span id (8 bytes)")
    if parsed.rejected:
        spans = plural(parsed.rejected, "span")
        reasons.append(f"{spans} with values that OTLP does not allow: {parsed.reason:.300}")
    if reasons:
        answer.partial_success.rejected_spans = without_ids + parsed.rejected
        answer.partial_success.error_message = "; ".join(reasons)
    return answer
