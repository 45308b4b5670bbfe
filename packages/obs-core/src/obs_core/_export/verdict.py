"""The verdict of an export, for the sender: facts that come out deep in an exporter, one verdict a thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(slots=True)
class Verdict:
    """Facts about an export that the exporter's answer leaves out.

    Attributes:
        is_unavailable: The batch was not taken since the collector takes nothing for now.
        is_too_large: The batch was not sent, since it must be sent in parts.
        rejected: How many items the collector has refused of a batch that it has taken.
        reason: Why, in the collector's words.
    """

    is_unavailable: bool = False
    is_too_large: bool = False
    rejected: int = 0
    reason: str = ""


class _Thread(threading.local):
    def __init__(self) -> None:
        self.verdict = Verdict()


_thread = _Thread()


def pending_verdict() -> Verdict:
    """Return the verdict of this thread's export, to be filled in."""
    return _thread.verdict


def take_verdict() -> Verdict:
    """Return the verdict of this thread's export, and begin another."""
    found, _thread.verdict = _thread.verdict, Verdict()
    return found
