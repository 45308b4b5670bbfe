"""The functions of ``grpc`` and ``grpc.aio`` that create channels and servers, replaced."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import grpc.aio
from obs_core.integration import Patches, call_contained
from opentelemetry.trace import SpanKind

from obs_grpc import _contrib
from obs_grpc._options import Options
from obs_grpc._state import Instrumentation
from obs_grpc.client._state import wrap_channel
from obs_grpc.server import _aio, _sync
from obs_grpc.server._state import instrumented

Original = Callable[..., Any]


def install(kind: SpanKind, options: Options) -> Callable[[], None]:
    """Trace every channel, or every server, made from now on, by the implementation that was chosen; return the undo."""
    if options.implementation.is_contrib:
        return _contrib.install(kind, options)
    return patch_factories(Instrumentation(kind, options))


def patch_factories(instrumentation: Instrumentation) -> Callable[[], None]:
    """Trace every channel, or every server, that is created from now on; return the undo."""
    patches = Patches()
    for module in (grpc, grpc.aio):
        is_aio = module is grpc.aio
        if not instrumentation.contrib_takes_over(is_aio):
            for name, create in _FACTORIES[instrumentation.kind].items():
                patches.wrap(module, name, partial(create, instrumentation, is_aio))

    def undo() -> None:
        instrumentation.switch_off()
        patches.undo()

    return undo


def _create_channel(
    instrumentation: Instrumentation,
    is_aio: bool,
    original: Original,
    *args: Any,
    **kwargs: Any,
) -> Any:
    channel = original(*args, **kwargs)
    # asked again: contrib's may have been switched on since
    if instrumentation.contrib_takes_over(is_aio):
        return channel
    target = args[0] if args else kwargs.get("target")
    action = "instrumenting a gRPC channel"
    return (
        call_contained(action, wrap_channel, channel, instrumentation, target)
        or channel
    )


def _create_server(
    instrumentation: Instrumentation,
    is_aio: bool,
    original: Original,
    *args: Any,
    **kwargs: Any,
) -> Any:
    if instrumentation.contrib_takes_over(is_aio):
        return original(*args, **kwargs)
    module = _aio if is_aio else _sync
    call = inspect.signature(original).bind(*args, **kwargs)
    others = call.arguments.get("interceptors") or ()
    call.arguments["interceptors"] = [
        module.ServerInterceptor(instrumentation),
        *others,
    ]
    server = original(*call.args, **call.kwargs)
    instrumented[server] = instrumentation
    return server


_FACTORIES: dict[SpanKind, dict[str, Callable[..., Any]]] = {
    SpanKind.CLIENT: {
        "insecure_channel": _create_channel,
        "secure_channel": _create_channel,
    },
    SpanKind.SERVER: {"server": _create_server},
}
