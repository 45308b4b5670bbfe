"""``grpc.aio.Server``, traced by an interceptor that leaves every handler the kind it is.

grpc.aio tells by ``inspect`` whether a handler is a coroutine function (which may ``context.write``), an async generator
function, or a plain function for the thread pool; so each kind gets a wrapper of that kind.
https://github.com/open-telemetry/opentelemetry-python-contrib/issues/3066
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc.aio
from grpc import StatusCode
from opentelemetry.context import attach, detach

from obs_grpc._server import Begin, ServerRpc, traced_for_good, traced_handler
from obs_grpc._tracing import Tracing

_END = object()


class ServerInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Gives every RPC that is to be traced a SERVER span."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """See ``grpc.aio.ServerInterceptor.intercept_service``."""
        return traced(self._tracing, await continuation(handler_call_details), handler_call_details)


def traced(tracing: Tracing, handler: Any, details: Any) -> Any:
    """Return `handler` for one RPC, traced unless its method is excluded."""
    method = tracing.method(details.method) if handler is not None and tracing.active else None
    if method is None:
        return handler
    rpc = ServerRpc(tracing, method, details.invocation_metadata, StatusCode.UNKNOWN)
    return traced_handler(handler, rpc, _wrap)


def registered(tracing: Tracing, handler: Any, full_method: str) -> Any:
    """Return `handler`, registered for `full_method` alone, traced unless that is excluded."""
    method = tracing.method(full_method)
    if method is None:
        return handler

    def begin(context: Any) -> ServerRpc:
        return ServerRpc(tracing, method, context.invocation_metadata(), StatusCode.UNKNOWN).begin(
            context
        )

    return traced_for_good(handler, begin, _wrap)


def _wrap(behavior: Any, begin: Begin, responses: bool) -> Any:
    if inspect.iscoroutinefunction(behavior):
        return _coroutine(behavior, begin)
    if inspect.isasyncgenfunction(behavior):
        return _generator(behavior, begin)
    return _stream_in_thread(behavior, begin) if responses else _in_thread(behavior, begin)


def _coroutine(behavior: Any, begin: Begin) -> Any:
    async def handle(request: Any, context: Any) -> Any:
        rpc = begin(context)
        token = attach(rpc.context)
        try:
            response = await behavior(request, context)
        except BaseException as error:
            _end_raised(rpc, context, error)
            raise
        finally:
            detach(token)
        rpc.end_returned(context)
        return response

    return handle


def _generator(behavior: Any, begin: Begin) -> Any:
    async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
        rpc = begin(context)
        responses = rpc.run(behavior, request, context)
        try:
            while (response := await _next(responses, rpc)) is not _END:
                yield response
            rpc.end_returned(context)
        except BaseException as error:
            await _close(responses, rpc)
            _end_raised(rpc, context, error)
            raise

    return handle


async def _next(responses: Any, rpc: ServerRpc) -> Any:
    token = attach(rpc.context)
    try:
        return await anext(responses, _END)
    finally:
        detach(token)


async def _close(responses: Any, rpc: ServerRpc) -> None:
    token = attach(rpc.context)
    try:
        await responses.aclose()
    finally:
        detach(token)


def _in_thread(behavior: Any, begin: Begin) -> Any:
    def handle(request: Any, context: Any) -> Any:
        recording = _RecordingContext(context)
        rpc = begin(context)
        try:
            response = rpc.run(behavior, request, recording)
        except BaseException as error:
            _end_raised(rpc, recording, error)
            raise
        rpc.end_returned(recording)
        return response

    return handle


def _stream_in_thread(behavior: Any, begin: Begin) -> Any:
    def handle(request: Any, context: Any) -> Iterator[Any]:
        recording = _RecordingContext(context)
        rpc = begin(context)
        try:
            responses = rpc.run(behavior, request, recording)
            while (response := rpc.run(next, responses, _END)) is not _END:
                yield response
        except BaseException as error:
            _end_raised(rpc, recording, error)
            raise
        rpc.end_returned(recording)

    return handle


class _RecordingContext:
    """The context of a plain function on an aio server, which unlike all others cannot tell the code it was given."""

    def __init__(self, context: Any) -> None:
        self._obs_context = context
        self._obs_code: object = None
        self._obs_details = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._obs_context, name)

    def set_code(self, code: object) -> None:
        self._obs_code = code
        self._obs_context.set_code(code)

    def set_details(self, details: str) -> None:
        self._obs_details = details
        self._obs_context.set_details(details)

    def abort(self, code: object, details: str = "", *trailing_metadata: Any, **kwargs: Any) -> Any:
        self._obs_code, self._obs_details = code, details
        return self._obs_context.abort(code, details, *trailing_metadata, **kwargs)

    def code(self) -> object:
        return self._obs_code

    def details(self) -> str:
        return self._obs_details


def _end_raised(rpc: ServerRpc, context: Any, error: BaseException) -> None:
    # InternalError: reading from or writing to a client that is gone
    if isinstance(error, asyncio.CancelledError | GeneratorExit | grpc.aio.InternalError):
        rpc.end_gone(context)
    else:
        rpc.end_raised(context, error, aborted=isinstance(error, grpc.aio.AbortError))
