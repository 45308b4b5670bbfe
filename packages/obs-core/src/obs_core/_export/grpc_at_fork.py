"""Requests over gRPC beside forks: a fork waits a moment for the request that is under way, and none begins meanwhile.

A process that forks while a thread of it is in a call leaves the child a gRPC whose calls may never end: gRPC skips its own
preparation then ("Other threads are currently calling into gRPC, skipping fork() handlers", grpc/grpc#31885).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

from obs_core._export.availability import noting_code
from obs_core._export.signals import Exporter, Signal, extended
from obs_core._export.wakeup import original

#: The longest that a fork waits for a request, and a request for a fork, in seconds. A collector that is well answers in
#: milliseconds; one that is silent may not hold up the process.
LONGEST_WAIT_S = 0.1
_PAUSE_S = 0.001


class _Requests:
    """The requests that are under way. Each step is atomic; a lock could be inherited by a child while a thread holds it."""

    def __init__(self) -> None:
        self._under_way: set[object] = set()
        self._is_forking = False

    def make(self, request: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `request`, not while the process forks."""
        me = object()
        self._under_way.add(me)
        if self._is_forking:
            self._under_way.discard(me)
            _wait_while(lambda: self._is_forking)
            self._under_way.add(me)
        try:
            return request(*args, **kwargs)
        finally:
            self._under_way.discard(me)

    def before_fork(self) -> None:
        """Let nothing begin, and wait for what is under way."""
        self._is_forking = True
        _wait_while(lambda: bool(self._under_way))

    def after_fork(self) -> None:
        """Let requests begin."""
        self._is_forking = False

    def after_fork_in_child(self) -> None:
        """Forget the parent's requests."""
        self._under_way.clear()
        self._is_forking = False


def _wait_while(condition: Callable[[], bool]) -> None:
    # not gevent's: a greenlet that ran within a fork would run twice
    sleep = original("time", "sleep")
    for _ in range(round(LONGEST_WAIT_S / _PAUSE_S)):
        if not condition():
            return
        sleep(_PAUSE_S)


_requests = _Requests()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_requests.before_fork,
        after_in_parent=_requests.after_fork,
        after_in_child=_requests.after_fork_in_child,
    )


class _Channel:
    """A gRPC channel whose unary calls are not under way at a fork, and tell whether the collector is available."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def unary_unary(self, *args: Any, **options: Any) -> Any:
        call = self._channel.unary_unary(*args, **options)
        return partial(_requests.make, noting_code(call))


def with_channel(
    exporter: type[Exporter],
    signal: Signal,
    wrap: Callable[[Any], Any] = lambda channel: channel,
    **members: Any,
) -> type[Exporter]:
    """Return the class `exporter` with calls that spare forks, on a channel that `wrap` has changed.

    Unchanged, if the place where the exporter makes its stub is not found.
    """
    if not _makes_stubs(exporter):
        return exporter

    # later exporters set the stub's class themselves, which is not kept
    def make_stub(channel: object) -> Any:
        return signal.stub(wrap(_Channel(channel)))

    stub = property(lambda _: make_stub, lambda *_: None)
    return extended(exporter, _stub=stub, **members)


def _makes_stubs(exporter: type[Exporter]) -> bool:
    """Whether some method calls ``self._stub(…)``."""
    return any(
        isinstance(method, FunctionType)
        and {"_stub", "_client"} <= set(method.__code__.co_names)
        for base in exporter.__mro__
        for method in vars(base).values()
    )
