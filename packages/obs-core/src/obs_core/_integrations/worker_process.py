"""What kind of process this is: integrations that do not know each other meet here."""

from __future__ import annotations

_worker_depth = 0


def mark_worker_process(active: bool = True) -> None:
    """Say that this process takes its work from a queue (a Celery worker's main process or child).

    Client integrations then treat calls outside any task as the queue's own traffic: see `is_worker_process`.
    A forked child inherits the mark. `active=False` takes one mark back.
    """
    global _worker_depth
    _worker_depth = max(0, _worker_depth + (1 if active else -1))


def is_worker_process() -> bool:
    """Whether this process takes its work from a queue, so that a client span without a parent is only noise."""
    return _worker_depth > 0
