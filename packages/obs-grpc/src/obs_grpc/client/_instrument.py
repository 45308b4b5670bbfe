"""`instrument_grpc_client` and `uninstrument_grpc_client`. grpc is imported by a call."""

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

from obs_grpc._options import DEFAULT_EXCLUDE, Exclude, Hook, Options, check_installed

T = TypeVar("T")
_NAME = "grpc_client"


@overload
def instrument_grpc_client(
    channel: None = None,
    *,
    exclude: Exclude = DEFAULT_EXCLUDE,
    include_message_events: bool = False,
    on_start: Hook | None = None,
    on_end: Hook | None = None,
    tracer_provider: TracerProvider | None = None,
    implementation: ImplementationName | None = None,
    contrib_options: Mapping[str, object] | None = None,
) -> InstrumentationHandle: ...
@overload
def instrument_grpc_client(
    channel: T,
    *,
    exclude: Exclude = DEFAULT_EXCLUDE,
    include_message_events: bool = False,
    on_start: Hook | None = None,
    on_end: Hook | None = None,
    tracer_provider: TracerProvider | None = None,
    implementation: ImplementationName | None = None,
    contrib_options: Mapping[str, object] | None = None,
) -> T: ...
def instrument_grpc_client(
    channel: object | None = None,
    *,
    exclude: Exclude = DEFAULT_EXCLUDE,
    include_message_events: bool = False,
    on_start: Hook | None = None,
    on_end: Hook | None = None,
    tracer_provider: TracerProvider | None = None,
    implementation: ImplementationName | None = None,
    contrib_options: Mapping[str, object] | None = None,
) -> object:
    """Trace the RPCs of `channel`, or of every channel created from now on; repeated calls have no further effect.

    Args:
        channel: A ``grpc.Channel`` or ``grpc.aio.Channel``; go on with the returned channel. Default: all channels that
            ``insecure_channel`` and ``secure_channel`` of ``grpc`` and ``grpc.aio`` create from now on.
        exclude: RPCs that are not traced. Names or globs of services (``package.Service``) or methods
            (``package.Service/Method``), which replace the default: health checks and reflection. Or a function of
            `RpcDetails` that returns True for an excluded RPC, in addition to the default; called once for each method.
            The services in ``OTEL_PYTHON_GRPC_EXCLUDED_SERVICES`` are always excluded.
        include_message_events: Record an event ``rpc.message`` for every message.
        on_start: Called with the span, which is current, and the request, before each RPC that is recorded; None in
            place of a stream of requests. What it raises is logged.
        on_end: Called with the span and the response of each RPC that succeeds with a single response.
        tracer_provider: The provider of the spans. Default: the global provider, also if set later.
        implementation: ``"obs"``, or ``"contrib"``: OpenTelemetry's own instrumentation, of the extra ``obs-grpc[contrib]``,
            makes the spans of all channels, with our limits around them; it honours `exclude` and `tracer_provider`, and other
            options are refused. Default: what ``OBS_IMPLEMENTATION`` says, or ``"obs"``.
        contrib_options: Options and hooks of contrib's interceptors, for instance ``request_hook``.

    Returns:
        The channel to use from now on; without `channel`, a handle with ``.uninstrument()``.

    Raises:
        MissingDependencyError: grpcio, or for ``"contrib"`` its package, is not installed.
        ConfigurationError: `channel` is not a channel, or an option has a value of the wrong kind.
        AlreadyConfiguredError: The channel, or every channel, is instrumented already, with other options.

    Thread-safe.
    """
    check_installed()
    options = Options(
        exclude=exclude,
        include_message_events=include_message_events,
        on_start=on_start,
        on_end=on_end,
        tracer_provider=tracer_provider,
        implementation=choose_implementation(_NAME, implementation, contrib_options),
    )
    options.check_implementation()
    from obs_grpc import _contrib, _patches
    from obs_grpc.client import _state

    if channel is None:
        return instrument_once(
            _NAME,
            lambda: _patches.install(SpanKind.CLIENT, options),
            options=options,
            defaults=Options(),
        )
    if _contrib.traces_all(SpanKind.CLIENT, options):
        return channel
    return _state.traced_channel(channel, options)


def uninstrument_grpc_client(channel: T | None = None) -> T | None:
    """Undo `instrument_grpc_client` for `channel`, or for all channels; without effect if not instrumented.

    Args:
        channel: The channel that was given to `instrument_grpc_client`, or the returned channel.

    Returns:
        The channel that was given to `instrument_grpc_client`; without `channel`, None. Stubs of the traced channel go on
        working, untraced.
    """
    if channel is None:
        uninstrument(_NAME)
        return None
    from obs_grpc.client import _state

    plain: T = _state.plain_channel(channel)
    return plain
