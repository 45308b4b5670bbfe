"""redis-py: a span a command or pipeline, on the methods that every command passes through.

Contrib's wrappers name a pipeline by all commands, record FT.SEARCH's query and documents, have no
server in a cluster (https://github.com/open-telemetry/opentelemetry-python-contrib/issues/2505) and
take a script-cache miss for an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from time import time_ns
from typing import TYPE_CHECKING, Any, TypeVar

from obs_core.integration import (
    InstrumentationHandle,
    call_contained,
    instrument_once,
    require,
    uninstrument,
    warn_unsupported_version,
)
from opentelemetry.trace import Span, TracerProvider

from obs_db._call import Call, record_failure
from obs_db._chosen import forgetting
from obs_db._contrib import Contrib
from obs_db._options import Options, Roots
from obs_db._patches import Patches, Shared
from obs_db._semconv import REDIS, with_former_names
from obs_db.redis._attributes import (
    PIPELINE,
    describe_command,
    pipeline_attributes,
    queued_commands,
)
from obs_db.redis._background import BACKGROUND_WORK
from obs_db.redis._outcome import error_code, is_expected
from obs_db.redis._state import TracedClient, TracedClients, key_of

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

_contrib = Contrib("opentelemetry.instrumentation.redis:RedisInstrumentor")
R = TypeVar("R")
_clients = TracedClients()


def instrument_redis(
    client: Client | None = None,
    *,
    service_name: str | None = None,
    roots: Roots = "auto",
    tracer_provider: TracerProvider | None = None,
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
        tracer_provider: Default: the global provider.

    Returns:
        A handle; ``uninstrument()`` takes this call back. A second call for the same client changes
        nothing.

    Raises:
        ConfigurationError: An option or `client` is of a wrong type or value.
        AlreadyConfiguredError: The client is instrumented already, with other options.
        MissingDependencyError: redis-py is not installed.

    Thread-safe. Clients are held weakly.
    """
    require("redis", package="obs-db")
    options = Options(service_name=service_name, roots=roots, tracer_provider=tracer_provider)
    warn_unsupported_version("obs-db", "redis")
    key = key_of(client) if client is not None else None
    return instrument_once(
        "redis",
        lambda: _install(key, options),
        target=key,
        options=options.by_name(),
        defaults=Options().by_name(),
    )


def uninstrument_redis(client: Client | None = None) -> None:
    """Undo `instrument_redis` of the same `client`; all else stays instrumented."""
    uninstrument("redis", target=key_of(client) if client is not None else None)


def _install(key: Any, options: Options) -> Callable[[], None]:
    if _contrib.takes_over():
        return lambda: None
    _clients.choose(key, options)
    _methods.acquire()
    forget = forgetting(_clients.forget, key)

    def undo() -> None:
        _methods.release()
        forget()

    return undo


def _traced(call: Callable[..., R], *, is_pipeline: bool) -> Callable[..., R]:
    @wraps(call)
    def run(self: Any, *args: Any, **options: Any) -> R:
        what, started = queued_commands(self) if is_pipeline else args, time_ns()
        try:
            result = call(self, *args, **options)
        except BaseException as error:
            call_contained("redis span", _record, self, what, started, error)
            raise
        call_contained("redis span", _record, self, what, started)
        return result

    return run


def _traced_async(
    call: Callable[..., Awaitable[R]], *, is_pipeline: bool
) -> Callable[..., Awaitable[R]]:
    @wraps(call)
    async def run(self: Any, *args: Any, **options: Any) -> R:
        what, started = queued_commands(self) if is_pipeline else args, time_ns()
        try:
            result = await call(self, *args, **options)
        except BaseException as error:
            call_contained("redis span", _record, self, what, started, error)
            raise
        call_contained("redis span", _record, self, what, started)
        return result

    return run


_COMMANDS = (
    (
        path,
        method,
        partial(
            _traced_async if path.startswith("redis.asyncio") else _traced, is_pipeline=is_pipeline
        ),
    )
    for path, method, is_pipeline in (
        ("redis.client:Redis", "execute_command", False),
        ("redis.client:Pipeline", "immediate_execute_command", False),
        ("redis.client:Pipeline", "execute", True),
        ("redis.cluster:RedisCluster", "execute_command", False),
        ("redis.cluster:ClusterPipeline", "execute", True),
        ("redis.asyncio.client:Redis", "execute_command", False),
        ("redis.asyncio.client:Pipeline", "immediate_execute_command", False),
        ("redis.asyncio.client:Pipeline", "execute", True),
        ("redis.asyncio.cluster:RedisCluster", "execute_command", False),
        ("redis.asyncio.cluster:ClusterPipeline", "execute", True),
    )
)
_patches = Patches((*_COMMANDS, *BACKGROUND_WORK))
_methods = Shared(_patches.apply, _patches.take_back)


def _record(client: Any, what: Any, started: int, error: BaseException | None = None) -> None:
    """Make the span of `what`: a command's arguments (a tuple) or a pipeline's commands (a list)."""
    key = key_of(client)
    traced = _clients.get(key)
    if traced is None or what == []:
        return
    ended, call = time_ns(), Call()
    if call.is_left_out(traced) or _contrib.takes_over():
        return
    span = _start(call, traced, key, what, started)
    if error is not None and span.is_recording():
        record_failure(span, error, error_code(error), expected=is_expected(error))
    span.end(ended)


def _start(call: Call, traced: TracedClient, key: Any, what: Any, started: int) -> Span:
    attributes, former_names = traced.attributes(key), traced.options.former_names
    if isinstance(what, tuple):
        command = describe_command(what, former_names=former_names)
        return call.start_span(traced, command.name, started, {**attributes, **command.attributes})
    span = call.start_span(traced, PIPELINE, started, attributes)
    if span.is_recording():
        told = pipeline_attributes(what)
        span.set_attributes(with_former_names(told, REDIS) if former_names else told)
    return span
