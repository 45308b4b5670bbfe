"""What one attempt of a task looks like as a span: its parent, links and attributes.

Used by the child, which executes the attempt, and by the main process, which tells of it when the child cannot.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind, get_current_span, set_span_in_context
from opentelemetry.util.types import AttributeValue

from obs_celery._broker import destination
from obs_celery._message import RELATION_HEADER, chord_id, extract, header, is_unsampled, previous_attempt, waits_s
from obs_celery._options import Options
from obs_celery._setup import Setup, TaskFacts

Attributes = dict[str, AttributeValue]


@dataclass(slots=True)
class Attempt:
    """One attempt, before it has a span.

    Attributes:
        facts: What is known of the task.
        context: What the attempt runs in: the producer's context, or a new root with its baggage.
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

    def start_span(self, setup: Setup, request: Any, start_time: int | None = None) -> Span:
        """Start the span, with everything that is known before the outcome."""
        attributes = {**self.facts.consumed, **request_attributes(request)}
        key = attributes.pop("celery.routing_key", None)
        if key is not None and self.facts.labels["messaging.system"] == "rabbitmq":
            attributes["messaging.rabbitmq.destination.routing_key"] = key
        if self.wait_s is not None:
            attributes["celery.queue_wait"] = self.wait_s
        if self.eta_delay_s:
            attributes["celery.eta_delay"] = self.eta_delay_s
        return setup.tracer.start_span(
            self.facts.processes, self.context, SpanKind.CONSUMER, attributes, self.links, start_time
        )


def attempt_of(setup: Setup, app: Any, name: str, request: Any, current: Context | None = None) -> Attempt:
    """Work out where the attempt of `request` stands.

    Args:
        setup: The app's setup.
        app: The app.
        name: The task's name.
        request: The task's request (`celery.app.task.Context`).
        current: The caller's context, for an eager task that runs inside it; None: what the message carries.
    """
    facts = setup.facts(app, name)
    context = extract(request) if current is None else current
    wait_s, eta_delay_s = (None, 0.0) if current is not None else waits_s(request, time.time())
    if facts.hidden:
        return Attempt(facts, context, [], False, wait_s, eta_delay_s)
    previous = previous_attempt(request) if request.retries else None
    links = [Link(previous)] if previous else []
    if current is None:
        context = _related(setup, facts, request, context, links, eta_delay_s)
    return Attempt(facts, context, links, not is_unsampled(context), wait_s, eta_delay_s)


def _related(setup: Setup, facts: TaskFacts, request: Any, context: Context, links: list[Link], delay_s: float) -> Context:
    """Return `context`, or, in link mode, a root with its baggage; the producer then goes to the front of `links`."""
    if not _is_linked(setup.options, facts, request, delay_s):
        return context
    producer = get_current_span(context).get_span_context()
    if not producer.is_valid:
        return context
    links.insert(0, Link(producer))
    return set_span_in_context(INVALID_SPAN, context)


def _is_linked(options: Options, facts: TaskFacts, request: Any, delay_s: float) -> bool:
    """Whether the attempt starts a trace of its own: the message's word goes first, then canvas, ETA, options."""
    asked = header(request, RELATION_HEADER)
    if asked in ("parent", "link"):
        return bool(asked == "link")
    if request.group or request.chord:
        return False
    if options.link_after_s is not None and delay_s > options.link_after_s:
        return True
    return facts.relation == "link"


def request_attributes(request: Any) -> Attributes:
    """The attributes that a request tells by itself."""
    delivery = request.delivery_info or {}
    routing_key = delivery.get("routing_key")
    found: dict[str, Any] = {
        "messaging.destination.name": destination(delivery.get("exchange"), routing_key),
        "celery.routing_key": routing_key,
        "messaging.message.id": request.id,
        "celery.task.id": request.id,
        "celery.hostname": request.hostname,
        "celery.root_id": request.root_id,
        "celery.parent_id": request.parent_id,
        "celery.eta": request.eta,
        "celery.group.id": request.group,
        "celery.chord.id": chord_id(request.chord) if request.chord else None,
    }
    attributes: Attributes = {key: str(value) for key, value in found.items() if value is not None}
    attributes["celery.retries"] = request.retries or 0
    if request.is_eager:
        attributes["celery.eager"] = True
    return attributes
