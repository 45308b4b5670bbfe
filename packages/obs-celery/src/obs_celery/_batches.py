"""celery-batches: a single execution for many messages, with a link to each producer.

The library (0.11) catches the task's exception and sends no ``task_failure``; ``task_postrun`` says FAILURE
without an exception. Hence the call of the task is wrapped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from celery.app.task import Context as TaskRequest
from obs_core.integration import Patches
from opentelemetry.context import Context
from opentelemetry.trace import Link

from obs_celery._attempt import Attempt
from obs_celery._message import waits_s
from obs_celery._propagation import extract, span_context_of
from obs_celery._state import Setup

#: The exception that the batch executed last in this context has raised.
_raised: ContextVar[BaseException | None] = ContextVar(
    "obs_celery_batch_raised", default=None
)


def batch_of(task: Any, request: Any, args: Any) -> Sequence[Any]:
    """Return the requests that a batch task is executed with; none for ordinary and eager tasks."""
    module = sys.modules.get("celery_batches")
    if module is None or request.is_eager or not isinstance(task, module.Batches):
        return ()
    messages = next(iter(args or ()), None)
    return messages if isinstance(messages, list) else ()


def batch_attempt(setup: Setup, task: Any, requests: Sequence[Any]) -> Attempt:
    """Return the attempt of a batch: a root with a link to each producer, and the longest wait.

    Left out where producers are known and all are unsampled.
    """
    producers, waits = [], []
    for request in requests:
        message = TaskRequest(request.request_dict or {})
        producer = span_context_of(extract(message))
        wait_s, _ = waits_s(message, time.time())
        if producer is not None:
            producers.append(producer)
        if wait_s is not None:
            waits.append(wait_s)
    facts = setup.facts(task.app, task.name)
    wanted = not producers or any(
        producer.trace_flags.sampled for producer in producers
    )
    traced = wanted and not facts.hidden and not setup.leaves_out(Context())
    links = [Link(producer) for producer in producers]
    return Attempt(facts, Context(), links, traced, max(waits, default=None), 0.0)


def batch_request(requests: Sequence[Any]) -> TaskRequest:
    """Return a request with the batch's destination and host; Celery's own request of a batch is empty."""
    first = requests[0]
    return TaskRequest(delivery_info=first.delivery_info, hostname=first.hostname)


def watch_batches(patches: Patches) -> None:
    """Keep the exceptions of batch tasks; a second call does nothing."""
    batches = sys.modules["celery_batches"].Batches
    if "__call__" not in vars(batches):
        patches.wrap(batches, "__call__", _keep_exception)


def _keep_exception(
    original: Callable[..., Any], task: Any, *args: Any, **kwargs: Any
) -> Any:
    _raised.set(None)
    try:
        return original(task, *args, **kwargs)
    except Exception as error:
        _raised.set(error)
        raise


def take_raised() -> BaseException | None:
    """Return the exception of the batch executed last in this context, once."""
    error = _raised.get()
    _raised.set(None)
    return error
