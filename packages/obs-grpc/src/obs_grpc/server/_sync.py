"""Traced handlers of a ``grpc.Server``: an interceptor, in front of those of the user, gives each RPC a traced handler."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
from grpc import StatusCode

from obs_grpc._state import Instrumentation
from obs_grpc.server._served_rpc import Begin, ServerRpc, handler_of_rpc

_NO_DEADLINE_S = 1e9  # grpc's "infinite" is some 9e18


class ServerInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """Gives every RPC of a traced method a SERVER span. Thread-safe."""

    def __init__(self, instrumentation: Instrumentation) -> None:
        self._instrumentation = instrumentation

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: Any
    ) -> Any:
        """See ``grpc.ServerInterceptor.intercept_service``."""
        handler = continuation(handler_call_details)
        return traced(self._instrumentation, handler, handler_call_details)


class _Pipeline:
    """The interceptors of a server with ours in front."""

    def __init__(self, interceptor: ServerInterceptor, inner: Any) -> None:
        self._interceptor = interceptor
        self.inner = inner

    def execute(self, thunk: Callable[[Any], Any], details: Any) -> Any:
        following = thunk
        if self.inner is not None:
            following = partial(self.inner.execute, thunk)
        return self._interceptor.intercept_service(following, details)


def put_in_front(server: Any, instrumentation: Instrumentation) -> Callable[[], None]:
    """Trace all RPCs of a server that exists, running or not; return the undo.

    grpc takes interceptors only when a server is created: https://github.com/grpc/grpc/issues/18191

    Raises:
        AttributeError: This version of grpc keeps the interceptors elsewhere.
    """
    state = server._state
    pipeline = _Pipeline(ServerInterceptor(instrumentation), state.interceptor_pipeline)
    state.interceptor_pipeline = pipeline
    reference = weakref.ref(server)

    def undo() -> None:
        server = reference()
        if server is not None and server._state.interceptor_pipeline is pipeline:
            server._state.interceptor_pipeline = pipeline.inner

    return undo


def traced(instrumentation: Instrumentation, handler: Any, details: Any) -> Any:
    """Return `handler` for a single RPC, traced unless the method is excluded."""
    if handler is None or not instrumentation.active or _is_non_blocking(handler):
        return handler
    method = instrumentation.method(details.method)
    if method is None:
        return handler
    rpc = ServerRpc(
        instrumentation, method, details.invocation_metadata, StatusCode.INTERNAL
    )
    return handler_of_rpc(handler, rpc, _wrap)


def _is_non_blocking(handler: Any) -> bool:
    """Whether the handler is of grpc's experimental kind that returns first and answers through a callback."""
    if not handler.response_streaming:
        return False
    function = handler.stream_stream or handler.unary_stream
    return getattr(function, "experimental_non_blocking", False)


def _wrap(behavior: Any, begin: Begin, responses: bool) -> Any:
    make = _stream if responses else _unary
    handle = make(behavior, begin)
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
    """The responses of a handler: the span is current while the handler makes a response, not while grpc sends it."""

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
        if response is None:  # grpc takes None for the end of the stream
            _end_returned(self._rpc, self._context)
        return response

    def __del__(self) -> None:
        if not self._rpc.is_open:
            return
        # grpc drops the iterator when the client is gone
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
        aborted = (
            type(error) is Exception and not error.args and context.code() is not None
        )
        rpc.end_raised(context, error, aborted=aborted)
    else:
        # grpc raises a bare RpcError in a handler that reads from a client that is gone, or writes to it
        is_consequence = type(error) is grpc.RpcError
        rpc.end_gone(context, None if is_consequence else error)
