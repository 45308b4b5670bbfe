"""redis-py's own recurring work, which has no spans: the work is no part of a request.

As long as a `MultiDBClient` lives, its databases are checked every few seconds, in asyncio in the
context of the request that used the client first. A cluster's client requests the layout when a
node has moved, within any command.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from obs_db._call import no_spans
from obs_db._patches import Wrap

R = TypeVar("R")


def _silent(call: Callable[..., Any]) -> Callable[..., Any]:
    return _silent_async(call) if iscoroutinefunction(call) else _silent_sync(call)


def _silent_sync(call: Callable[..., R]) -> Callable[..., R]:
    @wraps(call)
    def run(*args: Any, **options: Any) -> R:
        with no_spans():
            return call(*args, **options)

    return run


def _silent_async(call: Callable[..., Awaitable[R]]) -> Callable[..., Awaitable[R]]:
    @wraps(call)
    async def run(*args: Any, **options: Any) -> R:
        with no_spans():
            return await call(*args, **options)

    return run


#: redis-py 7 and later; no public method is called by every check, whatever the policy.
BACKGROUND_WORK: tuple[tuple[str, str, Wrap], ...] = (
    ("redis.multidb.client:MultiDBClient", "_check_db_health", _silent),
    ("redis.asyncio.multidb.client:MultiDBClient", "_check_db_health", _silent),
    ("redis.cluster:NodesManager", "initialize", _silent),
)
