"""Reach servers that exist already: grpc takes interceptors only as a server is made.

https://github.com/grpc/grpc/issues/18191
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import grpc

from obs_grpc import _server_aio
from obs_grpc._server_sync import ServerInterceptor
from obs_grpc._tracing import Tracing

Undo = Callable[[], None]
Traced = Callable[[Tracing, Any, Any], Any]


class _Pipeline:
    """An interceptor in front of a ``grpc.Server``'s own, which run as before."""

    def __init__(self, interceptor: ServerInterceptor, inner: Any) -> None:
        self._interceptor = interceptor
        self.inner = inner

    def execute(self, thunk: Callable[[Any], Any], details: Any) -> Any:
        inner = self.inner
        following = thunk if inner is None else lambda details: inner.execute(thunk, details)
        return self._interceptor.intercept_service(following, details)


def put_in_front(server: Any, tracing: Tracing) -> Undo:
    """Trace all RPCs of a ``grpc.Server``, running or not, whenever its handlers were added; return the undo.

    Raises:
        AttributeError: This version of grpc keeps its interceptors elsewhere.
    """
    state = server._state
    pipeline = _Pipeline(ServerInterceptor(tracing), state.interceptor_pipeline)
    state.interceptor_pipeline = pipeline
    held = weakref.ref(server)

    def undo() -> None:
        server = held()
        if server is not None and server._state.interceptor_pipeline is pipeline:
            server._state.interceptor_pipeline = pipeline.inner

    return undo


def wrap_registration(server: Any, tracing: Tracing, traced: Traced) -> Undo:
    """Trace the RPCs of the handlers of `server`, those it has and those it gets; return the undo.

    The way to a ``grpc.aio.Server``, whose interceptors are out of Python's sight.
    """
    give_back = adopt(getattr(server, "_server", None), tracing)
    add = type(server).add_generic_rpc_handlers
    held = weakref.ref(server)

    def add_generic_rpc_handlers(generic_rpc_handlers: Iterable[Any]) -> None:
        add(held(), [_Handlers(handlers, tracing, traced) for handlers in generic_rpc_handlers])

    def add_registered_method_handlers(service_name: str, method_handlers: dict[str, Any]) -> None:
        # registered handlers are looked up without being asked again for each RPC; generic ones serve the same methods
        add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(service_name, method_handlers)]
        )

    ours = {
        function.__name__: function
        for function in (add_generic_rpc_handlers, add_registered_method_handlers)
        if hasattr(server, function.__name__)  # grpc < 1.64 has no registered handlers
    }
    vars(server).update(ours)

    def undo() -> None:
        server = held()
        give_back()
        for name, function in ours.items():
            if server is not None and vars(server).get(name) is function:
                delattr(server, name)

    return undo


def adopt(cython_server: Any, tracing: Tracing) -> Undo:
    """Wrap the handlers that an aio server has; return the undo.

    Its attributes are out of reach, the list of its handlers and the dict of its registered methods are not.
    """
    parts = gc.get_referents(cython_server)
    generic = [part for part in parts if isinstance(part, list)]
    registered = [
        part
        for part in parts
        if isinstance(part, dict) and part and all(map(_is_method_handler, part.values()))
    ]
    if len(generic) != 1 or not all(
        isinstance(handlers, grpc.GenericRpcHandler) for handlers in generic[0]
    ):
        return lambda: None
    before = [(methods, dict(methods)) for methods in registered]
    for methods, originals in before:
        for name, handler in originals.items():
            full_method = name.decode() if isinstance(name, bytes) else name
            methods[name] = _server_aio.registered(tracing, handler, full_method)
    generic[0][:] = [_Handlers(handlers, tracing, _server_aio.traced) for handlers in generic[0]]

    def give_back() -> None:
        for methods, originals in before:
            methods.update(originals)
        generic[0][:] = [getattr(handlers, "plain", handlers) for handlers in generic[0]]

    return give_back


def _is_method_handler(value: object) -> bool:
    return isinstance(value, grpc.RpcMethodHandler)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Handlers that come out traced."""

    def __init__(self, handlers: Any, tracing: Tracing, traced: Traced) -> None:
        self.plain = handlers
        self._tracing = tracing
        self._traced = traced

    def service(self, handler_call_details: Any) -> Any:
        """See ``grpc.GenericRpcHandler.service``."""
        return self._traced(
            self._tracing, self.plain.service(handler_call_details), handler_call_details
        )
