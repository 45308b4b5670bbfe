"""An interceptor for a ``grpc.Server`` that exists already: grpc takes interceptors only when a server is created.

https://github.com/grpc/grpc/issues/18191
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from obs_grpc._state import Instrumentation
from obs_grpc.server._sync import ServerInterceptor


class _Pipeline:
    """The server's interceptors with ours in front."""

    def __init__(self, interceptor: ServerInterceptor, inner: Any) -> None:
        self._interceptor = interceptor
        self.inner = inner

    def execute(self, thunk: Callable[[Any], Any], details: Any) -> Any:
        inner = self.inner
        if inner is None:
            return self._interceptor.intercept_service(thunk, details)
        return self._interceptor.intercept_service(
            lambda details: inner.execute(thunk, details), details
        )


def put_in_front(server: Any, instrumentation: Instrumentation) -> Callable[[], None]:
    """Trace all RPCs of a ``grpc.Server``, running or not, of handlers added before or after; return the undo.

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
