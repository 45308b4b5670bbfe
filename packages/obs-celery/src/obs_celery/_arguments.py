"""A task's arguments as attributes: the requested ones, with secrets masked and long values cut."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from celery.utils.saferepr import saferepr
from obs_core.integration import truncate
from opentelemetry.util.types import AttributeValue

from obs_celery._options import Options


def captured_arguments(
    options: Options, task: Any, args: Any, kwargs: Any
) -> dict[str, AttributeValue]:
    """Return ``celery.args.<name>`` for each argument of the call that the options allow, by the names of the task's body."""
    bound = _bound(task, args, kwargs)
    wanted = {name: value for name, value in bound.items() if options.captures(name)}
    return {
        f"celery.args.{name}": _value(options, name, value)
        for name, value in wanted.items()
        if value is not None
    }


def _bound(task: Any, args: Any, kwargs: Any) -> Mapping[str, Any]:
    try:
        bound = inspect.signature(task.run).bind(*args, **kwargs)
    except TypeError:
        return dict(kwargs)
    bound.apply_defaults()
    found = dict(bound.arguments)
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            found.update(found.pop(name))
    return found


def _value(options: Options, name: str, value: object) -> AttributeValue:
    value = options.redactor.value(name, value)
    if isinstance(value, (bool, int, float)):
        return value
    limit = options.max_value_bytes
    if isinstance(value, str):
        return truncate(value, limit)
    return truncate(saferepr(value, limit), limit)


#: The tasks behind ``map``, ``starmap`` and chunks.
MAPS = frozenset({"celery.map", "celery.starmap"})


def items_of(kwargs: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Return the inner task and the number of items of a task in `MAPS`."""
    inner, items = kwargs.get("task"), kwargs.get("it")
    found: dict[str, AttributeValue] = {}
    if isinstance(inner, Mapping):
        found["celery.inner_task.name"] = str(inner.get("task"))
    if isinstance(items, (list, tuple)):
        found["celery.items.count"] = len(items)
    return found
