"""Eager canvas in the caller's process: without a span around it, its tasks would each be a trace of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from celery.canvas import Signature
from opentelemetry import trace
from opentelemetry.context import get_current

from obs_celery._setup import Setups

#: The canvas types by Celery's own registry.
_KINDS = ("chain", "group", "chord")


class EagerCanvas:
    """Puts a span around the `apply` of a chain, group or chord that has no span around it yet."""

    def __init__(self, setups: Setups) -> None:
        self._setups = setups
        self._originals: dict[type, Callable[..., Any]] = {}

    def wrap(self) -> None:
        """Wrap each kind of canvas."""
        for kind in {Signature.TYPES[name] for name in _KINDS}:
            if "apply" in vars(kind):
                self._originals[kind] = kind.apply
                kind.apply = self._rooted(kind.apply)

    def restore(self) -> None:
        """Give each kind its own `apply` back."""
        while self._originals:
            kind, original = self._originals.popitem()
            kind.apply = original  # type: ignore[attr-defined]

    def _rooted(self, apply: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(apply)
        def apply_canvas(canvas: Any, *args: Any, **kwargs: Any) -> Any:
            setup = self._setups.find(canvas.app)
            has_span = trace.get_current_span().get_span_context().is_valid
            if setup is None or has_span or setup.leaves_out(get_current()):
                return apply(canvas, *args, **kwargs)
            with setup.tracer.start_as_current_span(f"apply {canvas.task}"):
                return apply(canvas, *args, **kwargs)

        return apply_canvas
