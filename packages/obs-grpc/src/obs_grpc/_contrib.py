"""Contrib's instrumentation of gRPC as the implementation: its interceptors, placed where ours would be.

Contrib's instrumentor for clients drops ``tracer_provider``, so its public interceptors are used in place of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import grpc.aio
from obs_core.integration import (
    ContribEngine,
    Patches,
    SpanShape,
    call_contained,
    error_type,
    fail,
)
from opentelemetry.trace import Span, SpanKind

from obs_grpc._options import Options
from obs_grpc._outcome import as_status_code
from obs_grpc._state import CONTRIB, active

_CODE = "rpc.grpc.status_code"


def _client_outcome(span: Span, error: BaseException) -> bool:
    """Record the code that a call failed with; contrib sets the status."""
    code = getattr(error, "code", None)
    name = as_status_code(code()).name if callable(code) else error_type(error)
    span.set_attribute("error.type", name)
    return True


def _server_outcome(span: Any, error: BaseException) -> bool:
    """Record what a handler raised, which contrib leaves without an error and with the code OK; an abort has its code."""
    if type(error) is Exception or type(error).__name__ == "AbortError":
        return False
    if not (span.attributes or {}).get(_CODE):
        span.set_attribute(_CODE, grpc.StatusCode.UNKNOWN.value[0])
        fail(span, error_type(error), error_type(error))
    return True


_TARGETS = {SpanKind.CLIENT: "channels", SpanKind.SERVER: "servers"}
_OUTCOMES = {SpanKind.CLIENT: _client_outcome, SpanKind.SERVER: _server_outcome}
engines = {
    kind: ContribEngine(
        {CONTRIB[kind, is_aio]: None for is_aio in (False, True)},
        shape=SpanShape(outcome=outcome, judges_status=False),
        is_ours_active=partial(active, kind),
    )
    for kind, outcome in _OUTCOMES.items()
}


def traces_all(kind: SpanKind, options: Options) -> bool:
    """Whether contrib traces all channels, or all servers, so that a single one cannot have another way.

    Raises:
        ConfigurationError: Contrib was chosen for a single one.
    """
    engine = engines[kind]
    if engine.stand_back(options.implementation):
        return True
    if options.implementation.is_contrib:
        raise engine.unsupported(f"contrib traces all {_TARGETS[kind]}: leave it out")
    return False


def install(kind: SpanKind, options: Options) -> Callable[[], None]:
    """Let contrib trace every channel, or every server, made from now on; return the undo."""
    engine = engines[kind]
    provider = engine.provider(options)

    def place(module: Any, given: dict[str, Any]) -> Callable[[], None]:
        given["filter_"] = partial(_is_included, options, given.get("filter_"))
        patches = Patches()
        for target, name, create in _FACTORIES[kind]:
            make = partial(create, module, {"tracer_provider": provider, **given})
            patches.wrap(target, name, make)
        return patches.undo

    return engine.trace_all_by(options.implementation, place)


def _is_included(options: Options, filter_: Any, details: Any) -> bool:
    method = getattr(details, "full_method", None) or details.method
    name = method.decode() if isinstance(method, bytes) else str(method)
    if options.excludes(name):
        return False
    return filter_ is None or bool(filter_(details))


def _channel(module: Any, parts: Any, original: Any, *args: Any, **kwargs: Any) -> Any:
    channel = original(*args, **kwargs)
    interceptor = call_contained("contrib", module.client_interceptor, **parts)
    if interceptor is None:
        return channel
    return module.intercept_channel(channel, interceptor)


def _intercepted(
    make: str, module: Any, parts: Any, original: Any, *args: Any, **kwargs: Any
) -> Any:
    """Create an aio channel, or a server, with contrib's interceptors in front."""
    made = call_contained("contrib", getattr(module, make), **parts) or []
    call = inspect.signature(original).bind(*args, **kwargs)
    others = call.arguments.get("interceptors") or ()
    own = made if isinstance(made, list) else [made]
    call.arguments["interceptors"] = [*own, *others]
    return original(*call.args, **call.kwargs)


_aio_channel = partial(_intercepted, "aio_client_interceptors")
_FACTORIES: dict[SpanKind, tuple[tuple[Any, str, Callable[..., Any]], ...]] = {
    SpanKind.CLIENT: (
        (grpc, "insecure_channel", _channel),
        (grpc, "secure_channel", _channel),
        (grpc.aio, "insecure_channel", _aio_channel),
        (grpc.aio, "secure_channel", _aio_channel),
    ),
    SpanKind.SERVER: (
        (grpc, "server", partial(_intercepted, "server_interceptor")),
        (grpc.aio, "server", partial(_intercepted, "aio_server_interceptor")),
    ),
}
