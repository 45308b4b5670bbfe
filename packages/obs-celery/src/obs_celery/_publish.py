"""The producer: a span around the real publish. Runs wherever tasks are sent: services, workers (main and child), beat."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar, Token
from typing import Any

from obs_core.integration import (
    call_contained,
    context_with,
    keeping,
    record_error,
)
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Span, SpanKind

from obs_celery._attributes import message_attributes
from obs_celery._execution import note_failing_task, previous_of_retry
from obs_celery._message import RELATION_HEADER, Message, chord_id
from obs_celery._propagation import lost_attempt, span_context_of, write_headers
from obs_celery._state import Setup, Setups

#: Key of an OpenTelemetry context: the name of the beat entry that is due.
BEAT_ENTRY = "obs-celery-beat-entry"
_CHORD_UNLOCK = "celery.chord_unlock"

SendTask = Callable[..., Any]


class _Publication:
    """A call of ``app.send_task``; `span` is None where the call is not recorded.

    The span is started with all attributes when the message is known, or without when the call fails before.
    """

    __slots__ = (
        "_began_ns",
        "_context_token",
        "_headers",
        "_is_started",
        "_name",
        "_slot_token",
        "app",
        "setup",
        "span",
    )

    def __init__(self, setup: Setup, app: Any, name: str, headers: object) -> None:
        self.setup = setup
        self.app = app
        self.span: Span | None = None
        self._name = name
        self._headers = headers
        self._is_started = False
        self._began_ns = time.time_ns()
        self._context_token: Token[Context] | None = None
        self._slot_token = _publishing.set(self)

    def start(
        self,
        fields: Mapping[str, Any],
        chord: object = None,
        exchange: object = None,
        key: object = None,
    ) -> None:
        """Start the span with the message's attributes as the current span, unless trace or task are not recorded."""
        self._is_started = True
        context = get_current()
        if self._headers and span_context_of(context) is None:
            context = lost_attempt(self._headers) or context
        if self.setup.leaves_out(context):
            return
        facts = self.setup.facts(self.app, self._name)
        if facts.hidden:
            return
        if keeping.is_on:
            call_contained("noting a failing task", note_failing_task)
        attributes = message_attributes(
            facts.published,
            fields,
            chord,
            facts.broker.destinations.place(exchange, key),
        )
        entry = context.get(BEAT_ENTRY) or _started_by_hand(self._headers)
        if isinstance(entry, str):
            attributes["celery.beat.entry"] = entry
        start_span = self.setup.tracer.start_span
        self.span = start_span(
            facts.publishes, context, SpanKind.PRODUCER, attributes, (), self._began_ns
        )
        self._context_token = attach(context_with(self.span, context))

    def call_hook(self, sender: str, headers: MutableMapping[str, Any]) -> None:
        hook, span = self.setup.options.on_publish, self.span
        if hook is not None and span is not None and span.is_recording():
            call_contained("on_publish", hook, span, sender, headers)

    def fail(self, error: BaseException) -> None:
        if not self._is_started:
            call_contained("publish span", self.start, {})
        if self.span is not None:
            call_contained("publish span", record_error, self.span, error)

    def end(self) -> None:
        if self._context_token is not None:
            detach(self._context_token)
        _publishing.reset(self._slot_token)
        if self.span is not None:
            call_contained("publish span", self.span.end)


def _started_by_hand(headers: object) -> object:
    """Return the entry's name in django-celery-beat's header, for a periodic task started in Django's admin."""
    if not isinstance(headers, Mapping):
        return None
    return headers.get("periodic_task_name")


_publishing: ContextVar[_Publication | None] = ContextVar(
    "obs_celery_publishing", default=None
)


def send_task(
    setups: Setups, original: SendTask, app: Any, name: str, *args: Any, **kwargs: Any
) -> Any:
    """Call `Celery.send_task` with a span around it.

    All ways to send come through this method (apply_async, canvas, retries, beat), also for unregistered tasks; the signals
    around a publish do not report failures.
    """
    setup = setups.find(app)
    if setup is None:
        return original(app, name, *args, **kwargs)
    publication = _Publication(setup, app, name, kwargs.get("headers"))
    try:
        return original(app, name, *args, **kwargs)
    except BaseException as error:
        publication.fail(error)
        raise
    finally:
        publication.end()


def write_message(
    sender: str,
    headers: MutableMapping[str, Any],
    body: Any,
    exchange: Any = None,
    routing_key: Any = None,
    **_: Any,
) -> None:
    """On ``before_task_publish``: start the span of the message, and write context and time into the headers."""
    publication = _publishing.get()
    if publication is None:
        return
    message = Message(headers, body)
    place = exchange, routing_key
    call_contained(
        "publish span", publication.start, message.fields, message.chord, *place
    )
    write_headers(headers, message.retries, _previous(publication.app, message))
    publication.call_hook(sender, headers)


def _previous(app: Any, message: Message) -> str | None:
    """Return the name of the attempt that `message` repeats, if this worker executes that attempt now."""
    task = message.sender(app)
    if task is None:
        return None
    _keep_chord_together(task, message)
    if not message.retries or task.request.id != message.fields.get("id"):
        return None
    return previous_of_retry(task.request, message.headers)


def _keep_chord_together(task: Any, message: Message) -> None:
    """Let a chord's body join the trace of the header that completed the chord, also where the consumer prefers links.

    `task` is sending: that header, or Celery's own task that has waited for all headers.
    """
    if RELATION_HEADER in message.headers:
        return
    completes = chord_id(task.request.chord) == message.fields.get("id")
    has_waited = (
        task.name == _CHORD_UNLOCK and message.fields.get("task") != _CHORD_UNLOCK
    )
    if completes or has_waited:
        message.headers[RELATION_HEADER] = "parent"
