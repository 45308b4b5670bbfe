"""A span around eager canvas in the caller's process, without which each task would begin a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.canvas import Signature
from opentelemetry import trace
from opentelemetry.context import get_current

from obs_celery._state import Setups

#: The canvas types that have an `apply` of their own, from Celery's registry.
CANVAS = [
    kind
    for kind in (Signature.TYPES[name] for name in ("chain", "group", "chord"))
    if "apply" in vars(kind)
]


def apply_canvas(
    setups: Setups, apply: Callable[..., Any], canvas: Any, *args: Any, **kwargs: Any
) -> Any:
    """Call the `apply` of a chain, group or chord, in a new span unless a span is current."""
    setup = setups.find(canvas.app)
    has_span = trace.get_current_span().get_span_context().is_valid
    if setup is None or has_span or setup.leaves_out(get_current()):
        return apply(canvas, *args, **kwargs)
    with setup.tracer.start_as_current_span(f"apply {canvas.task}"):
        return apply(canvas, *args, **kwargs)
