"""`instrument_grpc_server` and `uninstrument_grpc_server`. grpc is imported by a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, overload

from obs_core.integration import (
    ImplementationName,
    InstrumentationHandle,
    choose_implementation,
    instrument_once,
    uninstrument,
)
from opentelemetry.trace import SpanKind, TracerProvider

from obs_grpc._options import DEFAULT_EXCLUDE, Exclude, Options, check_installed

T = TypeVar("T")
_NAME = "grpc_server"


@overload
def instrument_grpc_server(
    server: None = None,
    *,
    exclude: Exclude = DEFAULT_EXCLUDE,
    include_message_events: bool = False,
    identity_from_baggage: bool = False,
    tracer_provider: TracerProvider | None = None,
    implementation: ImplementationName | None = None,
    contrib_options: Mapping[str, object] | None = None,
) -> InstrumentationHandle: ...
@overload
def instrument_grpc_server(
    server: T,
    *,
    exclude: Exclude = DEFAULT_EXCLUDE,
    include_message_events: bool = False,
    identity_from_baggage: bool = False,
    tracer_provider: TracerProvider | None = None,
    implementation: ImplementationName | None = None,
    contrib_options: Mapping[str, object] | None = None,
) -> T: ...
def instrument_grpc_server(
    server: object | None = None,
    *,
    exclude: Exclude = DEFAULT_EXCLUDE,
    include_message_events: bool = False,
    identity_from_baggage: bool = False,
    tracer_provider: TracerProvider | None = None,
    implementation: ImplementationName | None = None,
    contrib_options: Mapping[str, object] | None = None,
) -> object:
    """Trace the RPCs that `server` serves, or every server created from now on; repeated calls have no further effect.

    Args:
        server: A ``grpc.Server`` or ``grpc.aio.Server``. Default: all servers that ``grpc.server`` and ``grpc.aio.server``
            create from now on.
        exclude: As for `instrument_grpc_client`.
        include_message_events: As for `instrument_grpc_client`.
        identity_from_baggage: Record ``user.id`` or ``user.hash``, and ``tenant.id``, of the caller's baggage on the SERVER
            span. Default False, as every caller can write baggage: only for servers that no stranger can reach.
        tracer_provider: As for `instrument_grpc_client`.
        implementation: ``"obs"``, or ``"contrib"``: OpenTelemetry's own instrumentation, of the extra ``obs-grpc[contrib]``,
            makes the spans of all servers, with our limits around them; it honours `exclude` and `tracer_provider`, and other
            options are refused. Default: what ``OBS_IMPLEMENTATION`` says, or ``"obs"``.
        contrib_options: Options and hooks of contrib's interceptors, for instance ``filter_``.

    Returns:
        `server`; without `server`, a handle with ``.uninstrument()``.

    Raises:
        MissingDependencyError: grpcio, or for ``"contrib"`` its package, is not installed.
        ConfigurationError: `server` is not a server, or an option has a value of the wrong kind.
        AlreadyConfiguredError: The server, or every server, is instrumented already, with other options.

    Thread-safe.
    """
    check_installed()
    options = Options(
        exclude=exclude,
        include_message_events=include_message_events,
        identity_from_baggage=identity_from_baggage,
        tracer_provider=tracer_provider,
        implementation=choose_implementation(_NAME, implementation, contrib_options),
    )
    options.check_implementation()
    from obs_grpc import _contrib, _patches
    from obs_grpc.server import _state

    if server is None:
        return instrument_once(
            _NAME,
            lambda: _patches.install(SpanKind.SERVER, options),
            options=options,
            defaults=Options(),
        )
    if _contrib.traces_all(SpanKind.SERVER, options):
        return server
    _state.trace_server(server, options)
    return server


def uninstrument_grpc_server(server: T | None = None) -> T | None:
    """Undo `instrument_grpc_server` for `server`, or for all servers; without effect if not instrumented.

    Returns:
        `server`. The spans of RPCs in progress end with the RPCs.
    """
    uninstrument(_NAME, target=server)
    return server
