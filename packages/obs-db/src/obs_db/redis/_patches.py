"""The methods of redis-py that are replaced: those which every command passes, and its background work.

As long as a `MultiDBClient` lives, its databases are checked every few seconds, in asyncio in the
context of the request that used the client first. A cluster's client requests the layout when a
node has moved, within any command. Both are no part of a request, and have no spans.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from time import time_ns
from typing import Any, TypeVar

from obs_core.integration import Contrib, Patches, Targets, call_contained
from opentelemetry.context import get_current
from opentelemetry.trace import Span

from obs_db._call import Call, no_spans, record_failure
from obs_db.redis._attributes import (
    PIPELINE,
    describe_command,
    pipeline_attributes,
    queued_commands,
)
from obs_db.redis._outcome import error_code, is_expected
from obs_db.redis._repeats import REPEATED, Failures, note_resent, sending
from obs_db.redis._state import TracedClient, TracedClients, key_of

R = TypeVar("R")
contrib = Contrib(
    "opentelemetry.instrumentation.redis:RedisInstrumentor", package="obs-db"
)


class _Running:
    """A command (its arguments, a tuple) or a pipeline (its commands, a list) under way."""

    __slots__ = ("_client", "_outer", "_started", "failures", "response", "sent")

    def __init__(self, client: Any, sent: Any) -> None:
        self._client = client
        self.sent = sent
        self._started = time_ns()
        self.failures: Failures | None = None
        self.response: Any = None

    def __enter__(self) -> _Running:
        self._outer = sending.get()
        sending.set(self)
        return self

    def __exit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> None:
        sending.set(self._outer)
        if self._outer is not None:
            resent = self._outer, self.sent, self._started
            call_contained("redis span", note_resent, *resent)
        call_contained("redis span", self._record, error)

    def _record(self, error: BaseException | None) -> None:
        key = key_of(self._client)
        clients = targets.find(key)
        if clients is None or self.sent == []:
            return
        ended, context, traced = time_ns(), get_current(), clients.get(key)
        if not traced.policy.wants_span(context) or contrib.takes_over(key):
            return
        span = self._start(Call(context), traced, traced.attributes(key))
        if span.is_recording():
            self._record_outcome(span, error)
            self._tell(span, traced, error)
        span.end(ended)

    def _tell(
        self, span: Span, traced: TracedClient, error: BaseException | None
    ) -> None:
        """Call the user's hooks."""
        client = self._client
        if traced.on_start is not None and isinstance(self.sent, tuple):
            call_contained("redis on_start", traced.on_start, span, client, self.sent)
        if traced.on_end is not None and error is None:
            call_contained("redis on_end", traced.on_end, span, client, self.response)

    def _record_outcome(self, span: Span, error: BaseException | None) -> None:
        if self.failures is not None:
            self.failures.write_on(span, error)
        if error is not None:
            record_failure(span, error, error_code(error), expected=is_expected(error))

    def _start(
        self, call: Call, traced: TracedClient, attributes: dict[str, Any]
    ) -> Span:
        if isinstance(self.sent, tuple):
            command = describe_command(self.sent, traced.former_names)
            attributes = {**attributes, **command.attributes}
            return call.start_span(traced, command.name, self._started, attributes)
        span = call.start_span(traced, PIPELINE, self._started, attributes)
        if span.is_recording():
            span.set_attributes(
                traced.former_names.added_to(pipeline_attributes(self.sent))
            )
        return span


def _command(call: Callable[..., R], client: Any, *args: Any, **options: Any) -> R:
    with _Running(client, args) as running:
        response = running.response = call(client, *args, **options)
        return response


async def _command_async(
    call: Callable[..., Awaitable[R]], client: Any, *args: Any, **options: Any
) -> R:
    with _Running(client, args) as running:
        response = running.response = await call(client, *args, **options)
        return response


def _pipeline(call: Callable[..., R], pipeline: Any, *args: Any, **options: Any) -> R:
    with _Running(pipeline, queued_commands(pipeline)) as running:
        response = running.response = call(pipeline, *args, **options)
        return response


async def _pipeline_async(
    call: Callable[..., Awaitable[R]], pipeline: Any, *args: Any, **options: Any
) -> R:
    with _Running(pipeline, queued_commands(pipeline)) as running:
        response = running.response = await call(pipeline, *args, **options)
        return response


def _silent(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    if iscoroutinefunction(call):
        return _silent_async(call, *args, **options)
    with no_spans():
        return call(*args, **options)


async def _silent_async(
    call: Callable[..., Awaitable[R]], *args: Any, **options: Any
) -> R:
    with no_spans():
        return await call(*args, **options)


_TABLE: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("redis.client:Redis", "execute_command", _command),
    ("redis.client:Pipeline", "immediate_execute_command", _command),
    ("redis.client:Pipeline", "execute", _pipeline),
    ("redis.cluster:RedisCluster", "execute_command", _command),
    ("redis.cluster:ClusterPipeline", "execute", _pipeline),
    ("redis.asyncio.client:Redis", "execute_command", _command_async),
    ("redis.asyncio.client:Pipeline", "immediate_execute_command", _command_async),
    ("redis.asyncio.client:Pipeline", "execute", _pipeline_async),
    ("redis.asyncio.cluster:RedisCluster", "execute_command", _command_async),
    ("redis.asyncio.cluster:ClusterPipeline", "execute", _pipeline_async),
    # redis-py 7 and later; no public method is called by every check, whatever the policy
    ("redis.multidb.client:MultiDBClient", "_check_db_health", _silent),
    ("redis.asyncio.multidb.client:MultiDBClient", "_check_db_health", _silent),
    ("redis.cluster:NodesManager", "initialize", _silent),
)


def _patch() -> Callable[[], None]:
    patches = Patches()
    for path, method, wrapper in (*_TABLE, *REPEATED):
        patches.wrap_if_present(path, method, wrapper)
    return patches.undo


#: By `key_of` a client.
targets: Targets[TracedClients] = Targets(_patch)
