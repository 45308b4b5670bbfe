"""The kind of this process, shared by integrations that do not know each other."""

from __future__ import annotations

_worker_depth = 0


def mark_worker_process(active: bool = True) -> None:
    """Mark this process as taking work from a queue (a Celery worker's main process or child).

    Client integrations then treat calls outside any task as the queue's own traffic: see `is_worker_process`. A forked
    child inherits the mark. `active=False` takes a mark back.
    """
    global _worker_depth
    _worker_depth = max(0, _worker_depth + (1 if active else -1))


def is_worker_process() -> bool:
    """Whether this process takes work from a queue, where a client span without a parent is only noise."""
    return _worker_depth > 0
