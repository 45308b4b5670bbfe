"""``grpc.Server``, traced by an interceptor: the handler gets grpc's own context, which knows the code in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
from grpc import StatusCode

from obs_grpc._server import Begin, ServerRpc, traced_handler
from obs_grpc._tracing import Tracing

_NO_DEADLINE_S = 1e9  # grpc's "infinite" is some 9e18


class ServerInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """Gives every RPC that is to be traced a SERVER span. Thread-safe."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: Any
    ) -> Any:
        """See ``grpc.ServerInterceptor.intercept_service``."""
        return traced(self._tracing, continuation(handler_call_details), handler_call_details)


def traced(tracing: Tracing, handler: Any, details: Any) -> Any:
    """Return `handler` for one RPC, traced unless its method is excluded."""
    method = tracing.method(details.method) if handler is not None and tracing.active else None
    if method is None or _is_non_blocking(handler):
        return handler
    rpc = ServerRpc(tracing, method, details.invocation_metadata, StatusCode.INTERNAL)
    return traced_handler(handler, rpc, _wrap)


def _is_non_blocking(handler: Any) -> bool:
    """Whether the handler is of grpc's experimental kind that answers through a callback, when it has long returned."""
    return handler.response_streaming and getattr(
        handler.stream_stream or handler.unary_stream, "experimental_non_blocking", False
    )


def _wrap(behavior: Any, begin: Begin, responses: bool) -> Any:
    handle = (_stream if responses else _unary)(behavior, begin)
    pool = getattr(behavior, "experimental_thread_pool", None)
    if pool is not None:
        handle.experimental_thread_pool = pool
    return handle


def _unary(behavior: Any, begin: Begin) -> Any:
    def handle(request: Any, context: Any) -> Any:
        rpc = _begin(begin, context)
        if not rpc.span.is_recording():
            return rpc.run(behavior, request, context)
        try:
            response = rpc.run(behavior, request, context)
        except BaseException as error:
            _end_raised(rpc, context, error)
            raise
        _end_returned(rpc, context)
        return response

    return handle


def _stream(behavior: Any, begin: Begin) -> Any:
    def handle(request: Any, context: Any) -> Any:
        rpc = _begin(begin, context)
        try:
            return _Responses(rpc.run(behavior, request, context), rpc, context)
        except BaseException as error:
            _end_raised(rpc, context, error)
            raise

    return handle


class _Responses:
    """A handler's responses; the span is current while the handler makes the next one, not while it is sent."""

    def __init__(self, responses: Any, rpc: ServerRpc, context: Any) -> None:
        self._responses = responses
        self._rpc = rpc
        self._context = context

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            response = self._rpc.run(next, self._responses)
        except StopIteration:
            _end_returned(self._rpc, self._context)
            raise
        except BaseException as error:
            _end_raised(self._rpc, self._context, error)
            raise
        if response is None:  # for grpc the end of the stream, which it sends at once
            _end_returned(self._rpc, self._context)
        return response

    def __del__(self) -> None:
        if not self._rpc.is_open:
            return
        # grpc drops the iterator of a client that is gone
        close = getattr(self._responses, "close", None)
        try:
            if close is not None:
                self._rpc.run(close)
        finally:
            self._rpc.end_gone(self._context)


def _begin(begin: Begin, context: Any) -> ServerRpc:
    rpc = begin(context)
    if rpc.span.is_recording() and context.time_remaining() < _NO_DEADLINE_S:
        context.add_callback(lambda: rpc.gone(context))
    return rpc


def _end_returned(rpc: ServerRpc, context: Any) -> None:
    if context.is_active():
        rpc.end_returned(context)
    else:
        rpc.end_gone(context)


def _end_raised(rpc: ServerRpc, context: Any, error: BaseException) -> None:
    if context.is_active():
        # abort() raises a bare Exception: https://github.com/grpc/grpc/issues/36009
        aborted = type(error) is Exception and not error.args and context.code() is not None
        rpc.end_raised(context, error, aborted=aborted)
    else:
        # reading from or writing to a client that is gone raises a bare RpcError
        rpc.end_gone(context, None if type(error) is grpc.RpcError else error)
