"""An attempt of a task as a span: parent, links, attributes, queue wait.

Used by the child, which executes the attempt, and by the main process, which records the attempt where the child cannot.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind

from obs_celery._attributes import message_attributes
from obs_celery._message import RELATION_HEADER, header, previous_attempt, waits_s
from obs_celery._relation import related
from obs_celery._state import Setup, TaskFacts


@dataclass(slots=True)
class Attempt:
    """An attempt without a span yet.

    Attributes:
        facts: The task's names and attributes.
        context: The producer's context, or a new root with the producer's baggage.
        links: The producer in link mode, and the attempt before a retry.
        traced: Whether the attempt gets a span; else the context passes through.
        wait_s: Time in the queue, in seconds; None when the producer left no stamp.
        eta_delay_s: Delay asked for by ETA or countdown, in seconds.
    """

    facts: TaskFacts
    context: Context
    links: list[Link]
    traced: bool
    wait_s: float | None
    eta_delay_s: float

    def start_span(
        self, setup: Setup, request: Any, start_time: int | None = None
    ) -> Span:
        """Start the span, with everything that is known before the outcome."""
        fields = vars(request)
        delivery = fields.get("delivery_info") or {}
        place = self.facts.broker.destinations.place(
            delivery.get("exchange"), delivery.get("routing_key")
        )
        attributes = message_attributes(
            self.facts.consumed, fields, fields.get("chord"), place
        )
        if request.hostname:
            attributes["celery.hostname"] = str(request.hostname)
        if request.is_eager:
            attributes["celery.eager"] = True
        if self.wait_s is not None:
            attributes["celery.queue_wait"] = self.wait_s
        if self.eta_delay_s:
            attributes["celery.eta_delay"] = self.eta_delay_s
        return setup.tracer.start_span(
            self.facts.processes,
            self.context,
            SpanKind.CONSUMER,
            attributes,
            self.links,
            start_time,
        )


def attempt_of(
    setup: Setup,
    app: Any,
    name: str,
    request: Any,
    context: Context,
    *,
    is_left_out: bool,
    started_s: float | None = None,
) -> Attempt:
    """Return the attempt of `request`: its parent or links, and how long it has waited.

    Args:
        setup: The app's setup.
        app: The app.
        name: The task's name.
        request: The task's request (`celery.app.task.Context`).
        context: The message's context; for an eager task the caller's.
        is_left_out: Whether an attempt in `context` gets no span (`Setup.leaves_out`).
        started_s: When the attempt started, in seconds since the epoch; None: now.
    """
    facts = setup.facts(app, name)
    links = _previous(request)
    if request.is_eager:
        wait_s, eta_delay_s = None, 0.0
    else:
        wait_s, eta_delay_s = waits_s(request, started_s or time.time())
        if not facts.hidden:
            came_with = context
            context = related(setup, facts, request, context, links, eta_delay_s)
            if context is not came_with:
                is_left_out = setup.leaves_out(context)
    traced = not facts.hidden and not is_left_out
    return Attempt(facts, context, links, traced, wait_s, eta_delay_s)


def is_passage(setup: Setup, request: Any) -> bool:
    """Whether `request`, which has come with a context that is left out, gets neither span nor metrics."""
    if setup.metrics.are_recorded:
        return False
    return request.is_eager or (
        setup.options.links_nothing and header(request, RELATION_HEADER) is None
    )


def _previous(request: Any) -> list[Link]:
    previous = request.retries and previous_attempt(request)
    return [Link(previous)] if previous else []
