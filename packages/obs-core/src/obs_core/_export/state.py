"""The life of an export worker: running, stopping, abandoned at the deadline, disowned after a fork."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """The life of a worker, in this order; `DISOWNED` may follow any, in a forked child.

    Attributes:
        RUNNING: Spans are queued and exported.
        STOPPING: No further span is queued; the queued spans are exported.
        ABANDONED: The time to stop is over, and what is left in the queue is counted.
        DISOWNED: Queue, connection, files and counts are another process's.
    """

    RUNNING = 1
    STOPPING = 2
    ABANDONED = 3
    DISOWNED = 4
