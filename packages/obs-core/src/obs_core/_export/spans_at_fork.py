"""A child's own spans, told from those that were open at the fork: the child exports its own, the parent the others.

A span that was open at the fork ends in both processes, and is exported by the parent.
"""

from __future__ import annotations

import time
from collections import OrderedDict

from opentelemetry.sdk.trace import ReadableSpan, Span

#: How many open spans with a start time before the fork a child remembers as its own; the oldest is forgotten first.
_MAX_BACKDATED = 1024


class Fork:
    """Tells the spans of this process from those that were open when the process was forked.

    Attributes:
        at_ns: The time of the fork, in nanoseconds since the epoch; 0 in a process that was not forked.
    """

    def __init__(self) -> None:
        self.at_ns = 0
        self._backdated: OrderedDict[int, None] = OrderedDict()

    def enter_child(self) -> None:
        """Leave what is open to the parent."""
        self.at_ns = time.time_ns()
        self._backdated.clear()

    def remember_backdated(self, span: Span) -> None:
        """Remember that `span`, whose start time is before the fork, began in this process."""
        self._backdated[span.get_span_context().span_id] = None
        if len(self._backdated) > _MAX_BACKDATED:
            self._backdated.popitem(last=False)

    def is_the_parents(self, span: ReadableSpan) -> bool:
        """Whether `span` was open when this process was forked; a backdated span was not."""
        if (span.start_time or 0) >= self.at_ns:
            return False
        return self._backdated.pop(span.context.span_id, self) is self
