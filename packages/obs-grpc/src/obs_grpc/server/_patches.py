"""The functions of ``grpc`` and ``grpc.aio`` that create servers, replaced."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import grpc.aio
from obs_core.integration import Contrib, Patches
from opentelemetry.trace import SpanKind

from obs_grpc._options import Options
from obs_grpc._state import Instrumentation
from obs_grpc.server import _aio, _sync
from obs_grpc.server._state import CONTRIB, CONTRIB_AIO, instrumented

_FACTORIES = (
    (grpc, CONTRIB, _sync.ServerInterceptor),
    (grpc.aio, CONTRIB_AIO, _aio.ServerInterceptor),
)


def patch_servers(options: Options) -> Callable[[], None]:
    """Trace every server that is created from now on; return the undo."""
    instrumentation, patches = Instrumentation(SpanKind.SERVER, options), Patches()
    for module, contrib, interceptor in _FACTORIES:
        if not contrib.takes_over():
            create = partial(_create, instrumentation, contrib, interceptor(instrumentation))
            patches.wrap(module, "server", create)

    def undo() -> None:
        instrumentation.switch_off()
        patches.undo()

    return undo


def _create(
    instrumentation: Instrumentation,
    contrib: Contrib,
    interceptor: Any,
    original: Callable[..., Any],
    *args: Any,
    **kwargs: Any,
) -> Any:
    # asked again: contrib's may have been switched on since
    if contrib.takes_over():
        return original(*args, **kwargs)
    call = inspect.signature(original).bind(*args, **kwargs)
    others = call.arguments.get("interceptors") or ()
    call.arguments["interceptors"] = [interceptor, *others]
    server = original(*call.args, **call.kwargs)
    instrumented[server] = instrumentation
    return server
