"""Traced handlers of a ``grpc.aio.Server``, each of the same kind as the original.

grpc.aio asks ``inspect`` whether a handler is a coroutine function (which may ``context.write``), an async generator
function, or a plain function for the thread pool. Each kind has a wrapper of that kind.
https://github.com/open-telemetry/opentelemetry-python-contrib/issues/3066
"""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any

import grpc.aio
from grpc import StatusCode
from opentelemetry.context import attach, detach

from obs_grpc._state import Instrumentation
from obs_grpc.server._served_rpc import (
    Begin,
    ServerRpc,
    handler_of_method,
    handler_of_rpc,
)

_END = object()


class ServerInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Gives every RPC of a traced method a SERVER span."""

    def __init__(self, instrumentation: Instrumentation) -> None:
        self._instrumentation = instrumentation

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """See ``grpc.aio.ServerInterceptor.intercept_service``."""
        handler = await continuation(handler_call_details)
        return traced(self._instrumentation, handler, handler_call_details)


def traced(instrumentation: Instrumentation, handler: Any, details: Any) -> Any:
    """Return `handler` for a single RPC, traced unless the method is excluded."""
    if handler is None or not instrumentation.active:
        return handler
    method = instrumentation.method(details.method)
    if method is None:
        return handler
    rpc = ServerRpc(
        instrumentation, method, details.invocation_metadata, StatusCode.UNKNOWN
    )
    return handler_of_rpc(handler, rpc, _wrap)


def registered(instrumentation: Instrumentation, handler: Any, full_method: str) -> Any:
    """Return `handler`, registered for `full_method`, traced unless the method is excluded."""
    method = instrumentation.method(full_method)
    if method is None:
        return handler

    def begin(context: Any) -> ServerRpc:
        metadata = context.invocation_metadata()
        return ServerRpc(instrumentation, method, metadata, StatusCode.UNKNOWN).begin(
            context
        )

    return handler_of_method(handler, begin, _wrap)


def _wrap(behavior: Any, begin: Begin, responses: bool) -> Any:
    if inspect.iscoroutinefunction(behavior):
        return _coroutine(behavior, begin)
    if inspect.isasyncgenfunction(behavior):
        return _generator(behavior, begin)
    if responses:
        return _stream_in_thread(behavior, begin)
    return _in_thread(behavior, begin)


def _coroutine(behavior: Any, begin: Begin) -> Any:
    async def handle(request: Any, context: Any) -> Any:
        rpc = begin(context)
        token = attach(rpc.context)
        try:
            response = await _noting_cancellation(
                behavior(request, context), rpc, context
            )
        except BaseException as error:
            _end_raised(rpc, context, error)
            raise
        finally:
            detach(token)
        _end_returned(rpc, context)
        return response

    return handle


def _generator(behavior: Any, begin: Begin) -> Any:
    async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
        rpc = begin(context)
        responses = rpc.run(behavior, request, context)
        try:
            while (response := await _next(responses, rpc, context)) is not _END:
                yield response
            _end_returned(rpc, context)
        except BaseException as error:
            await _close(responses, rpc)
            _end_raised(rpc, context, error)
            raise

    return handle


async def _next(responses: Any, rpc: ServerRpc, context: Any) -> Any:
    token = attach(rpc.context)
    try:
        return await _noting_cancellation(responses.__anext__(), rpc, context)
    except StopAsyncIteration:
        return _END
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
    """The context of a plain function on an aio server; grpc's own context does not return what the handler has set."""

    def __init__(self, context: Any) -> None:
        self._obs_context = context
        self._obs_code: object = None
        self._obs_details = ""
        self._obs_trailers: Any = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._obs_context, name)

    def set_code(self, code: object) -> None:
        self._obs_code = code
        self._obs_context.set_code(code)

    def set_details(self, details: str) -> None:
        self._obs_details = details
        self._obs_context.set_details(details)

    def set_trailing_metadata(self, metadata: Any) -> None:
        self._obs_trailers = metadata
        self._obs_context.set_trailing_metadata(metadata)

    def trailing_metadata(self) -> Any:
        return self._obs_trailers

    def abort(
        self, code: object, details: str = "", *trailing_metadata: Any, **kwargs: Any
    ) -> Any:
        self._obs_code, self._obs_details = code, details
        return self._obs_context.abort(code, details, *trailing_metadata, **kwargs)

    def code(self) -> object:
        return self._obs_code

    def details(self) -> str:
        return self._obs_details


@types.coroutine
def _noting_cancellation(
    awaitable: Any, rpc: ServerRpc, context: Any
) -> Generator[Any, Any, Any]:
    """Await `awaitable`, and note the time of a cancellation: the handler may take long to end afterwards.

    grpc.aio cancels the handler's task when the RPC is cancelled or misses the deadline, without any other sign.
    """
    running = awaitable.__await__()
    step, value = running.send, None
    try:
        while True:
            wanted = step(value)
            try:
                step, value = running.send, (yield wanted)
            except BaseException as error:  # noqa: BLE001 - is thrown into the handler
                if isinstance(error, asyncio.CancelledError):
                    rpc.gone(context)
                step, value = running.throw, error
    except StopIteration as stop:
        return stop.value


def _is_cancelled() -> bool:
    """Whether grpc has cancelled the current task: timeouts of the handler's own are over when the handler ends.

    False before Python 3.11, which does not count cancellations.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:  # a handler in a thread, or closed by the garbage collector
        return False
    cancelling = getattr(task, "cancelling", None)
    return cancelling is not None and cancelling() > 0


def _end_returned(rpc: ServerRpc, context: Any) -> None:
    if _is_cancelled():
        rpc.end_gone(context)
    else:
        rpc.end_returned(context)


def _end_raised(rpc: ServerRpc, context: Any, error: BaseException) -> None:
    aborted = isinstance(error, grpc.aio.AbortError)
    # InternalError: the handler has read from a client that is gone, or written to it
    if isinstance(
        error, asyncio.CancelledError | GeneratorExit | grpc.aio.InternalError
    ):
        rpc.end_gone(context)
    elif _is_cancelled():
        rpc.end_gone(context, None if aborted else error)
    else:
        rpc.end_raised(context, error, aborted=aborted)
