"""redis-py: a span a command or pipeline, on the methods that every command passes through.

Contrib's wrappers name a pipeline by all commands, record FT.SEARCH's query and documents, have no
server in a cluster (https://github.com/open-telemetry/opentelemetry-python-contrib/issues/2505) and
take a script-cache miss for an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from obs_core.integration import (
    ImplementationName,
    InstrumentationHandle,
    Roots,
    choose_implementation,
    instrument_once,
    require,
    uninstrument,
    warn_unsupported_version,
)
from opentelemetry.trace import TracerProvider

from obs_db._options import RedisHook, RedisOptions
from obs_db.redis import _contrib
from obs_db.redis._patches import contrib, targets
from obs_db.redis._state import TracedClients, key_of

if TYPE_CHECKING:
    import redis
    import redis.asyncio
    import redis.asyncio.cluster
    import redis.cluster

    Client = (
        redis.Redis
        | redis.asyncio.Redis
        | redis.cluster.RedisCluster
        | redis.asyncio.cluster.RedisCluster
    )

_NAME = "redis"


def instrument_redis(
    client: Client | None = None,
    *,
    service_name: str | None = None,
    roots: Roots = "auto",
    include_broker: bool = False,
    on_start: RedisHook | None = None,
    on_end: RedisHook | None = None,
    tracer_provider: TracerProvider | None = None,
    implementation: ImplementationName | None = None,
    contrib_options: Mapping[str, object] | None = None,
) -> InstrumentationHandle:
    """Record a span for each command of redis-py, named as the command; for a pipeline, ``PIPELINE``.

    Args:
        client: The client to trace, sync or asyncio, standalone or cluster, pipelines included; None:
            every client of this process, made before or after. The options of a single client win over
            the options for all clients.
        service_name: Your team's name of the server; recorded as ``service.peer.name`` and
            ``peer.service``.
        roots: Whether a command outside any span is recorded: True, False, or ``"auto"`` (default): in
            ordinary processes yes; in a process that takes work from a queue no, where these commands
            are the queue's own.
        include_broker: Whether what Celery itself asks within a request is recorded too: the broker's
            commands below ``publish``, the result backend's. Default False: the spans of the tasks say
            it. Outside any span it never is.
        on_start: Called with the span, the client and the arguments of each command that is recorded; not for a
            pipeline. A span is made when its call has ended, so this too is called then. What it raises is logged.
        on_end: Called with the span, the client or pipeline, and the response of each call that has succeeded.
        tracer_provider: Default: the global provider.
        implementation: ``"obs"``, or ``"contrib"``: OpenTelemetry's own instrumentation, of the extra
            ``obs-db[contrib]``, makes the spans, with these options and our limits around them; the other options
            are then refused. Default: what ``OBS_IMPLEMENTATION`` says, or ``"obs"``.
        contrib_options: Options and hooks of contrib's own instrumentor, for instance ``request_hook``.

    Returns:
        A handle; ``uninstrument()`` takes this call back. A second call for the same client changes
        nothing.

    Raises:
        ConfigurationError: An option or `client` is of a wrong type or value.
        AlreadyConfiguredError: The client is instrumented already, with other options or by the other
            implementation.
        MissingDependencyError: redis-py or, for ``"contrib"``, its package is not installed.

    Thread-safe. Clients are held weakly.
    """
    require("redis", package="obs-db")
    options = RedisOptions(
        service_name=service_name,
        roots=roots,
        include_broker=include_broker,
        on_start=on_start,
        on_end=on_end,
        tracer_provider=tracer_provider,
        implementation=choose_implementation(_NAME, implementation, contrib_options),
    )
    options.check_implementation()
    warn_unsupported_version("obs-db", "redis")
    return instrument_once(
        _NAME,
        lambda: _install(client, options),
        target=_target(client),
        options=options,
        defaults=RedisOptions(),
    )


def uninstrument_redis(client: Client | None = None) -> None:
    """Undo `instrument_redis` of the same `client`; all else stays instrumented."""
    uninstrument(_NAME, target=_target(client))


def _target(client: Client | None) -> Any:
    return None if client is None else key_of(client)


def _install(client: Client | None, options: RedisOptions) -> Callable[[], None]:
    return _contrib.engine.install(
        options.implementation,
        contrib=lambda: _contrib.install(client, options),
        ours=lambda: _install_ours(client, options),
    )


def _install_ours(client: Client | None, options: RedisOptions) -> Callable[[], None]:
    if contrib.takes_over():
        return lambda: None
    return targets.add(_target(client), TracedClients(options))
