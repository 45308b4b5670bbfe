"""The four functions: instrument and take back, client and server. grpc is imported only when they are called."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar, overload

from obs_core.integration import (
    InstrumentationHandle,
    instrument_once,
    require,
    uninstrument,
    warn_unsupported_version,
)
from opentelemetry.trace import SpanKind, TracerProvider

from obs_grpc._options import EXCLUDED_SERVICES, Filter, Options

T = TypeVar("T")
CLIENT, SERVER = "grpc_client", "grpc_server"


@overload
def instrument_grpc_client(
    channel: None = None,
    *,
    filter_: Filter | None = None,
    exclude_services: Iterable[str] = EXCLUDED_SERVICES,
    message_events: bool = False,
    tracer_provider: TracerProvider | None = None,
) -> InstrumentationHandle: ...
@overload
def instrument_grpc_client(
    channel: T,
    *,
    filter_: Filter | None = None,
    exclude_services: Iterable[str] = EXCLUDED_SERVICES,
    message_events: bool = False,
    tracer_provider: TracerProvider | None = None,
) -> T: ...
def instrument_grpc_client(
    channel: object | None = None,
    *,
    filter_: Filter | None = None,
    exclude_services: Iterable[str] = EXCLUDED_SERVICES,
    message_events: bool = False,
    tracer_provider: TracerProvider | None = None,
) -> object:
    """Trace the RPCs of `channel`, or of every channel that is created from now on; once, however often called.

    Args:
        channel: A ``grpc.Channel`` or ``grpc.aio.Channel``; go on with the channel that is returned. None: all channels that
            ``grpc.insecure_channel`` and ``grpc.secure_channel``, of ``grpc`` and ``grpc.aio``, create from now on.
        filter_: Answers whether to trace the RPCs of a method; the filters of ``opentelemetry.instrumentation.grpc.filters``
            fit. Asked once for a method, in addition to `exclude_services`. Default: trace all.
        exclude_services: Full names of services that are not traced, beside those which
            ``OTEL_PYTHON_GRPC_EXCLUDED_SERVICES`` names. Default: health and reflection.
        message_events: Add an event ``rpc.message`` for every message. Default: False.
        tracer_provider: Default: the global one, also when it is only set later.

    Returns:
        The channel to use from now on, or a handle with ``.uninstrument()`` where none was given.

    Raises:
        MissingDependencyError: grpcio is not installed.
        ConfigurationError: `channel` is no channel, or an option is wrong.
        AlreadyConfiguredError: It is instrumented already, with other options.

    Thread-safe; to be called at set-up.
    """
    options = _check(filter_, exclude_services, message_events, tracer_provider)
    from obs_grpc import _targets

    if channel is not None:
        return _targets.traced_channel(channel, options)
    return _instrument(CLIENT, options)


@overload
def instrument_grpc_server(
    server: None = None,
    *,
    filter_: Filter | None = None,
    exclude_services: Iterable[str] = EXCLUDED_SERVICES,
    message_events: bool = False,
    identity_from_baggage: bool = False,
    tracer_provider: TracerProvider | None = None,
) -> InstrumentationHandle: ...
@overload
def instrument_grpc_server(
    server: T,
    *,
    filter_: Filter | None = None,
    exclude_services: Iterable[str] = EXCLUDED_SERVICES,
    message_events: bool = False,
    identity_from_baggage: bool = False,
    tracer_provider: TracerProvider | None = None,
) -> T: ...
def instrument_grpc_server(
    server: object | None = None,
    *,
    filter_: Filter | None = None,
    exclude_services: Iterable[str] = EXCLUDED_SERVICES,
    message_events: bool = False,
    identity_from_baggage: bool = False,
    tracer_provider: TracerProvider | None = None,
) -> object:
    """Trace the RPCs that `server` serves, or every server that is created from now on; once, however often called.

    Args:
        server: A ``grpc.Server`` or ``grpc.aio.Server``. None: all servers that ``grpc.server`` and ``grpc.aio.server`` create
            from now on.
        filter_: As for `instrument_grpc_client`.
        exclude_services: As for `instrument_grpc_client`.
        message_events: As for `instrument_grpc_client`.
        identity_from_baggage: Put ``user.id`` or ``user.hash``, and ``tenant.id``, of the caller's baggage on the SERVER span.
            Default False: anybody can write baggage. Only for servers that nobody but your own services can reach.
        tracer_provider: As for `instrument_grpc_client`.

    Returns:
        `server` itself, or a handle with ``.uninstrument()`` where none was given.

    Raises:
        MissingDependencyError: grpcio is not installed.
        ConfigurationError: `server` is no server, or an option is wrong.
        AlreadyConfiguredError: It is instrumented already, with other options.

    Thread-safe; to be called at set-up.
    """
    options = _check(
        filter_, exclude_services, message_events, tracer_provider, identity_from_baggage
    )
    from obs_grpc import _targets

    if server is not None:
        return _targets.traced_server(server, options)
    return _instrument(SERVER, options)


def uninstrument_grpc_client(channel: T | None = None) -> T | None:
    """Take `instrument_grpc_client` back, for `channel` or for all channels; nothing to undo is no error.

    Args:
        channel: Either one: that which was given, or that which was returned.

    Returns:
        The channel as it was before, or None where none was given. What was made of the traced one goes on working, untraced.
    """
    if channel is None:
        uninstrument(CLIENT)
        return None
    from obs_grpc import _targets

    plain: T = _targets.plain_channel(channel)
    return plain


def uninstrument_grpc_server(server: T | None = None) -> T | None:
    """Take `instrument_grpc_server` back, for `server` or for all servers; nothing to undo is no error.

    Returns:
        `server`. RPCs that are being served end their spans.
    """
    if server is None:
        uninstrument(SERVER)
        return None
    uninstrument(SERVER, target=server)
    return server


def _check(
    filter_: Filter | None,
    exclude_services: Iterable[str],
    message_events: bool,
    tracer_provider: TracerProvider | None,
    identity_from_baggage: bool = False,
) -> Options:
    require("grpc", package="obs-grpc")
    warn_unsupported_version("obs-grpc", "grpcio")
    return Options.check(
        filter_=filter_,
        exclude_services=exclude_services,
        message_events=message_events,
        identity_from_baggage=identity_from_baggage,
        tracer_provider=tracer_provider,
    )


def instrument_clients_automatically() -> InstrumentationHandle:
    """Trace every channel from now on with the default options, unless that is done already, with whichever."""
    return _instrument(CLIENT, _default_options())


def instrument_servers_automatically() -> InstrumentationHandle:
    """Trace every server from now on with the default options, unless that is done already, with whichever."""
    return _instrument(SERVER, _default_options())


def _default_options() -> Options:
    return _check(None, EXCLUDED_SERVICES, False, None)


def _instrument(name: str, options: Options) -> InstrumentationHandle:
    from obs_grpc import _targets
    from obs_grpc._tracing import Tracing

    is_client = name == CLIENT
    patch = _targets.patch_channels if is_client else _targets.patch_servers
    kind = SpanKind.CLIENT if is_client else SpanKind.SERVER
    return instrument_once(
        name,
        lambda: patch(Tracing(kind, options)),
        options=options.by_name(),
        defaults=_default_options().by_name(),
    )
