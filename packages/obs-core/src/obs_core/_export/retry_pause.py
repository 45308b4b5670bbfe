"""The pause of OTLP's exporters before their next attempt: a flush, or the end of the process, cuts the pause short.

Otherwise a process that ends in the pause loses what it has, though the collector is back. The exporters wait for an event that
is set at their shutdown (from OpenTelemetry 1.36), or sleep.
"""

from __future__ import annotations

import time
from types import FunctionType
from typing import Any

from obs_core._export.signals import Exporter, extended, is_otlp, rebound
from obs_core._export.wakeup import Signal

#: Between two cuts, in seconds: flushes in a row must not make a storm of attempts.
_LEAST_BETWEEN_CUTS_S = 1.0
#: The pause after the attempt that follows a cut: a gRPC channel that backs off fails it at once, and is then made anew.
_SECOND_TRY_S = 0.1
_EVENTS = ("_shutdown_in_progress", "_shutdown_event")


class PauseCut(Exception):  # noqa: N818 - nothing went wrong
    """The pause was cut short: the batch is to be offered anew."""


class RetryPause:
    """Stands in for the event that an exporter waits for. Any thread cuts and sets; the export thread waits."""

    def __init__(self) -> None:
        self._is_set = self._is_cut = self._was_cut = False
        self._next_cut = 0.0
        self._signal: Signal | None = None

    def begin(self) -> None:
        """Note that a batch is offered: earlier requests to hurry have been met."""
        self._is_cut = False

    def cut(self) -> None:
        """End the pause of the batch that is offered now, if there is one."""
        self._is_cut = True
        self._wake()

    def set(self) -> None:
        """End every pause: the exporter is closed."""
        self._is_set = True
        self._wake()

    def is_set(self) -> bool:
        """Whether the exporter is closed."""
        return self._is_set

    def _wake(self) -> None:
        if (signal := self._signal) is not None:
            signal.send()

    def wait(self, timeout: float) -> bool:
        """Pause for `timeout` seconds; return whether the exporter is closed.

        Raises:
            PauseCut: The pause was cut short.
        """
        ends = time.monotonic() + (_SECOND_TRY_S if self._was_cut else timeout)
        self._was_cut = False
        self._signal = signal = Signal()
        while not self._is_set:
            now = time.monotonic()
            if now >= ends:
                return False
            if self._is_cut:
                self._cut_if_due(now)
            signal.wait((min(ends, self._next_cut) if self._is_cut else ends) - now)
        return True

    def _cut_if_due(self, now: float) -> None:
        if now >= self._next_cut:
            self._next_cut = now + _LEAST_BETWEEN_CUTS_S
            self._was_cut = True
            raise PauseCut


def give_pause(exporter: Exporter, pause: RetryPause) -> Exporter:
    """Let `exporter` make its pauses by `pause`; unchanged if it is not OTLP's, or pauses in a way that is not known."""
    if not is_otlp(type(exporter)):
        return exporter
    for owner in (exporter, getattr(exporter, "_client", None)):
        for name in _EVENTS:
            if hasattr(getattr(owner, name, None), "wait"):
                setattr(owner, name, pause)
    sleeping = _sleeping(type(exporter))
    if sleeping:
        # by its class: a method of its own would keep the exporter, and its channel, until the interpreter is gone
        own = {
            name: rebound(found, sleep=pause.wait) for name, found in sleeping.items()
        }
        exporter.__class__ = extended(type(exporter), **own)
    return exporter


def _sleeping(exporter: type[Any]) -> dict[str, FunctionType]:
    """Return the methods of `exporter` that sleep, by name."""
    names = {name for base in exporter.__mro__ for name in vars(base)}
    found = {name: getattr(exporter, name) for name in names}
    return {
        name: method
        for name, method in found.items()
        if isinstance(method, FunctionType) and "sleep" in method.__code__.co_names
    }
