"""Commands that redis-py sends more than once: again after a failure, timeouts included.

redis-py 8 repeats ten times by default, and after a timeout the server has mostly carried out what it
was sent. The public class `Retry` repeats a client's commands and pipelines and a cluster's
transactions; a cluster's client has loops of its own around the methods that are wrapped here. A
redirect (MOVED, ASK) is no repeat: the first node has not carried out the command.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from operator import is_
from time import time_ns
from typing import Any, Protocol, TypeVar

from obs_core.integration import error_type
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from obs_db.redis._attributes import describe_command

R = TypeVar("R")
_MAX_EVENTS = 32
_REDIRECTS = frozenset({"MovedError", "AskError"})
#: Where commands are sent; connections, sentinels and tokens use `Retry` as well.
_CLIENTS = frozenset(
    {"redis.client", "redis.asyncio.client", "redis.cluster", "redis.asyncio.cluster"}
)


class Failures:
    """The failures of a command under way. Not thread-safe: a command is sent by a single thread or task."""

    __slots__ = ("_count", "_last", "_resent", "_times")

    def __init__(self) -> None:
        self._count = 0
        self._resent: list[tuple[int, str]] = []
        self._times: list[tuple[int, str]] = []
        self._last: BaseException | None = None

    def add(self, error: BaseException) -> None:
        """Note that an attempt has failed with `error`."""
        if error is self._last:
            return
        self._count += 1
        self._last = error
        if len(self._times) < _MAX_EVENTS:
            self._times.append((time_ns(), error_type(error)))

    def add_resent(self, name: str, started_ns: int) -> None:
        """Note that the command `name` of a cluster's pipeline was sent again, alone, at `started_ns`."""
        if len(self._resent) < _MAX_EVENTS:
            self._resent.append((started_ns, name))

    def write_on(self, span: Span, error: BaseException | None) -> None:
        """Write the number of attempts on `span`, and an event for each repeat, at most 32.

        Args:
            span: Of the command or pipeline.
            error: The exception that the command ends with.
        """
        repeats = self._count - (error is not None and error is self._last)
        attempts = 1 + repeats + bool(self._resent)
        if attempts == 1:
            return
        span.set_attribute("obs.db.attempts", attempts)
        attributes: dict[str, AttributeValue]
        for number, (failed_ns, kind) in enumerate(self._times[:repeats], 2):
            attributes = {"obs.db.attempt": number, "error.type": kind}
            span.add_event("obs.db.repeat", attributes, failed_ns)
        for started_ns, name in self._resent:
            attributes = {"obs.db.attempt": attempts, "db.operation.name": name}
            span.add_event("obs.db.repeat", attributes, started_ns)


class Sender(Protocol):
    """A command or pipeline under way.

    Attributes:
        sent: The command's arguments, a tuple, or the pipeline's commands, a list.
        failures: None as long as there are none.
    """

    sent: Any
    failures: Failures | None


#: The command that is under way in this thread or task.
sending: ContextVar[Sender | None] = ContextVar("obs_db_redis_sending", default=None)


def note_resent(pipeline: Sender, args: Any, started_ns: int) -> None:
    """Note on `pipeline` that its command with these `args` is sent again: a cluster's client does so, one by one."""
    if not isinstance(pipeline.sent, list) or not isinstance(args, tuple):
        return
    for command in pipeline.sent:
        queued = command[0] if type(command) is tuple else command.args
        if len(queued) == len(args) and all(map(is_, queued, args)):
            _failures(pipeline).add_resent(describe_command(args).name, started_ns)
            return


def _note(error: BaseException) -> None:
    sender = sending.get()
    if sender is not None and type(error).__name__ not in _REDIRECTS:
        _failures(sender).add(error)


def _failures(sender: Sender) -> Failures:
    if sender.failures is None:
        sender.failures = Failures()
    return sender.failures


def _retried(
    call: Callable[..., R],
    retry: Any,
    do: Callable[..., Any],
    fail: Callable[..., Any],
    *args: Any,
    **options: Any,
) -> R:
    if getattr(do, "__module__", None) not in _CLIENTS:
        return call(retry, do, fail, *args, **options)

    def failed(error: Exception, *count: int) -> Any:
        _note(error)
        return fail(error, *count)

    return call(retry, do, failed, *args, **options)


def _attempted(call: Callable[..., R], *args: Any, **options: Any) -> R:
    try:
        return call(*args, **options)
    except Exception as error:
        _note(error)
        raise


async def _attempted_async(
    call: Callable[..., Awaitable[R]], *args: Any, **options: Any
) -> R:
    try:
        return await call(*args, **options)
    except Exception as error:
        _note(error)
        raise


#: Class, method, wrapper; a cluster's loops call no public methods.
REPEATED: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("redis.retry:Retry", "call_with_retry", _retried),
    ("redis.asyncio.retry:Retry", "call_with_retry", _retried),
    ("redis.cluster:RedisCluster", "_execute_command", _attempted),
    ("redis.cluster:PipelineStrategy", "_send_cluster_commands", _attempted),
    ("redis.cluster:ClusterPipeline", "_send_cluster_commands", _attempted),
    ("redis.asyncio.cluster:ClusterNode", "execute_command", _attempted_async),
    ("redis.asyncio.cluster:PipelineStrategy", "_execute", _attempted_async),
    ("redis.asyncio.cluster:ClusterPipeline", "_execute", _attempted_async),
)
