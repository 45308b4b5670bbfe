"""N+1: the same statement again and again under the same span."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from weakref import WeakKeyDictionary

from opentelemetry.trace import Span

from obs_db.sqlalchemy._statement import Statement

_MAX_SHAPES = 128


class Repeats:
    """Counts shapes under each parent, as long as the parent span lives; at most 128 shapes a parent.

    Thread-safe.

    Args:
        threshold: The number of statements of the same shape at which the parent gets the event; None: never.
    """

    def __init__(self, threshold: int | None) -> None:
        self._threshold = threshold
        self._shapes: WeakKeyDictionary[Span, dict[str, count[int]]] = (
            WeakKeyDictionary()
        )

    def note(
        self,
        parent: Span,
        statement: Statement,
        *,
        is_batch: Callable[[], bool] = lambda: False,
    ) -> None:
        """Count `statement` under `parent`, which gets the event when the threshold is reached.

        Args:
            parent: The span under which the statement ran.
            statement: The statement that ran.
            is_batch: Whether SQLAlchemy has cut the statement out of a batch; asked at the threshold only.
        """
        if self._threshold is None:
            return
        shapes = self._shapes.get(parent)
        if shapes is None:
            shapes = self._shapes.setdefault(parent, {})
        counter = shapes.get(statement.text)
        if counter is None:
            if len(shapes) >= _MAX_SHAPES:
                return
            counter = shapes.setdefault(statement.text, count(1))
        # next() of a counter is atomic, so exactly one thread sees the threshold
        if next(counter) == self._threshold and not is_batch():
            event = {**statement.attributes, "obs.db.repetitions": self._threshold}
            parent.add_event("obs.db.n_plus_one", event)
