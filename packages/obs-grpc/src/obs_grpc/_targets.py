"""What can be instrumented: one channel, one server, or the functions that create them."""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

import grpc
import grpc.aio
from obs_core.exceptions import ConfigurationError
from obs_core.integration import (
    InstrumentationHandle,
    call_contained,
    instrument_once,
    uninstrument,
    warn_if_contrib_is_active,
)
from opentelemetry.trace import SpanKind

from obs_grpc import _client_aio, _client_sync, _existing, _server_aio, _server_sync
from obs_grpc._client import TracedChannel
from obs_grpc._options import Options
from obs_grpc._tracing import Tracing

Undo = Callable[[], None]
_CONTRIB = "opentelemetry.instrumentation.grpc:GrpcInstrumentor"
_CONTRIB_AIO = "opentelemetry.instrumentation.grpc:GrpcAioInstrumentor"

_lock = threading.Lock()
# a traced channel keeps its channel alive, so its id stands for it as long as the entry lives
_channels: weakref.WeakValueDictionary[int, TracedChannel] = weakref.WeakValueDictionary()
_servers: weakref.WeakKeyDictionary[Any, Tracing] = weakref.WeakKeyDictionary()


def traced_channel(channel: Any, options: Options) -> Any:
    """Return the traced channel in front of `channel`, which may be one itself."""
    plain, traced = _both(channel)
    if traced is not None and traced._obs_tracing.active:
        _check_options("grpc_client", traced._obs_tracing, options)
        return traced
    if not isinstance(plain, grpc.Channel | grpc.aio.Channel):
        raise ConfigurationError(
            f"instrument_grpc_client takes a grpc.Channel or grpc.aio.Channel, not {channel!r}"
        )
    if warn_if_contrib_is_active(
        _contrib(isinstance(plain, grpc.aio.Channel), "Client"), package="obs-grpc"
    ):
        return channel
    with _lock:
        tracing = Tracing(SpanKind.CLIENT, options)
        traced = _channels[id(plain)] = _wrapped(plain, tracing)
        instrument_once("grpc_client", lambda: lambda: _switch_off(tracing), target=traced)
        return traced


def _check_options(name: str, tracing: Tracing, options: Options) -> None:
    present = InstrumentationHandle(name, lambda: None, tracing.options.by_name())
    present.check_options(options.by_name(), {})


def plain_channel(channel: Any) -> Any:
    """Return the channel behind `channel`; where that was traced by itself, it is no longer."""
    plain, traced = _both(channel)
    if traced is not None:
        uninstrument("grpc_client", target=traced)
    return plain


def _both(channel: Any) -> tuple[Any, TracedChannel | None]:
    if isinstance(channel, TracedChannel):
        return channel._obs_channel, channel
    return channel, _channels.get(id(channel))


def _wrapped(channel: Any, tracing: Tracing, target: str | None = None) -> Any:
    cls = _client_aio.Channel if isinstance(channel, grpc.aio.Channel) else _client_sync.Channel
    return cls(channel, tracing, target)


def patch_channels(tracing: Tracing) -> Undo:
    """Trace every channel that grpc's four functions create from now on; return the undo."""

    def traced(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        channel = original(*args, **kwargs)
        target = args[0] if args else kwargs.get("target")
        return (
            call_contained("instrumenting a gRPC channel", _wrapped, channel, tracing, target)
            or channel
        )

    return _patch(
        tracing, "Client", ("insecure_channel", "secure_channel"), {grpc: traced, grpc.aio: traced}
    )


def traced_server(server: Any, options: Options) -> Any:
    """Return `server`, traced."""
    is_aio = isinstance(server, grpc.aio.Server)
    if not is_aio and not isinstance(server, grpc.Server):
        raise ConfigurationError(
            f"instrument_grpc_server takes a grpc.Server or grpc.aio.Server, not {server!r}"
        )
    with _lock:
        before = _servers.get(server)
        if before is not None and before.active:
            _check_options("grpc_server", before, options)
            return server
        if not warn_if_contrib_is_active(_contrib(is_aio, "Server"), package="obs-grpc"):
            tracing = _servers[server] = Tracing(SpanKind.SERVER, options)
            instrument_once("grpc_server", lambda: _reach(server, is_aio, tracing), target=server)
    return server


def _reach(server: Any, is_aio: bool, tracing: Tracing) -> Undo:
    try:
        undo = _existing.put_in_front(server, tracing)
    except AttributeError:
        traced = _server_aio.traced if is_aio else _server_sync.traced
        undo = _existing.wrap_registration(server, tracing, traced)

    def undo_and_switch_off() -> None:
        _switch_off(tracing)
        undo()

    return undo_and_switch_off


def patch_servers(tracing: Tracing) -> Undo:
    """Trace every server that ``grpc.server`` and ``grpc.aio.server`` create from now on; return the undo."""

    def with_(interceptor: Any) -> Callable[..., Any]:
        def traced(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            call = inspect.signature(original).bind(*args, **kwargs)
            call.arguments["interceptors"] = [
                interceptor,
                *(call.arguments.get("interceptors") or ()),
            ]
            server = original(*call.args, **call.kwargs)
            _servers[server] = tracing
            return server

        return traced

    sync, aio = _server_sync.ServerInterceptor(tracing), _server_aio.ServerInterceptor(tracing)
    return _patch(tracing, "Server", ("server",), {grpc: with_(sync), grpc.aio: with_(aio)})


def _patch(
    tracing: Tracing,
    side: str,
    names: tuple[str, ...],
    around: dict[ModuleType, Callable[..., Any]],
) -> Undo:
    undos = []
    for module, function in around.items():
        contrib = _contrib(module is grpc.aio, side)
        if not warn_if_contrib_is_active(contrib, package="obs-grpc"):
            undos += [_replace(module, name, function, contrib) for name in names]

    def undo() -> None:
        _switch_off(tracing)
        for put_back in undos:
            put_back()

    return undo


def _replace(module: ModuleType, name: str, around: Callable[..., Any], contrib: str) -> Undo:
    original = getattr(module, name)

    @wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        # asked again, because opentelemetry-instrument may activate contrib's after ours
        if warn_if_contrib_is_active(contrib, package="obs-grpc"):
            return original(*args, **kwargs)
        return around(original, *args, **kwargs)

    setattr(module, name, replacement)

    def put_back() -> None:
        # someone who patched after us keeps what they have; ours inside theirs does nothing any more
        if getattr(module, name) is replacement:
            setattr(module, name, original)

    return put_back


def _switch_off(tracing: Tracing) -> None:
    tracing.active = False


def _contrib(is_aio: bool, side: str) -> str:
    return f"{_CONTRIB_AIO if is_aio else _CONTRIB}{side}"
