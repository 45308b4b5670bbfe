"""The relation of an attempt to the producer: child in the same trace, or root of a new trace with a link."""

from __future__ import annotations

from typing import Any

from obs_core.integration import context_with
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link

from obs_celery._message import RELATION_HEADER, header
from obs_celery._options import Options
from obs_celery._propagation import span_context_of
from obs_celery._state import Setup, TaskFacts


def related(
    setup: Setup,
    facts: TaskFacts,
    request: Any,
    context: Context,
    links: list[Link],
    delay_s: float,
) -> Context:
    """Return `context`, or, in link mode, a root with the same baggage and the producer as the first of `links`."""
    asked = header(request, RELATION_HEADER)
    if asked == "parent" or (
        asked != "link" and not _is_linked(setup.options, facts, request, delay_s)
    ):
        return context
    producer = span_context_of(context)
    if producer is None:
        return context
    links.insert(0, Link(producer))
    return context_with(INVALID_SPAN, context)


def _is_linked(
    options: Options, facts: TaskFacts, request: Any, delay_s: float
) -> bool:
    """Whether the attempt starts a new trace where the message does not say: canvas goes first, then ETA, then options."""
    if facts.relation == "parent" and options.link_after_s is None:
        return False
    if request.group or request.chord:
        return False
    return facts.relation == "link" or (
        options.link_after_s is not None and delay_s > options.link_after_s
    )
