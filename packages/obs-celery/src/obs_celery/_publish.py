"""The producer: a span around the real publish. Runs wherever tasks are sent: services, workers (main and child), beat."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar, Token
from typing import Any

from obs_core.integration import call_contained, record_error
from opentelemetry.context import Context, attach, detach, get_current, get_value
from opentelemetry.trace import Span, SpanKind, get_current_span, set_span_in_context
from opentelemetry.util.types import AttributeValue

from obs_celery._broker import destination
from obs_celery._execute import tell_retry
from obs_celery._message import RELATION_HEADER, chord_id, is_unsampled, lost_attempt, write_headers
from obs_celery._setup import Setup, Setups

#: Key of an OpenTelemetry context: the name of the beat entry that is due.
BEAT_ENTRY = "obs-celery-beat-entry"
_CHORD_UNLOCK = "celery.chord_unlock"

SendTask = Callable[..., Any]


class _Publication:
    """One call of ``app.send_task``, from its begin to its end; `span` is None where none is to be recorded."""

    __slots__ = ("_context_token", "_slot_token", "app", "on_rabbitmq", "setup", "span")

    def __init__(self, setup: Setup, app: Any, name: str, headers: object) -> None:
        self.setup = setup
        self.app = app
        self.span: Span | None = None
        self.on_rabbitmq = False
        self._context_token: Token[Context] | None = None
        self._slot_token = _publishing.set(self)
        call_contained("publish span", self._start, name, headers)

    def _start(self, name: str, headers: object) -> None:
        context = get_current()
        if headers and not get_current_span(context).get_span_context().is_valid:
            context = lost_attempt(headers) or context
        if is_unsampled(context):
            return
        facts = self.setup.facts(self.app, name)
        if facts.hidden:
            return
        self.on_rabbitmq = facts.labels["messaging.system"] == "rabbitmq"
        attributes = facts.published
        entry = get_value(BEAT_ENTRY, context)
        if isinstance(entry, str):
            attributes = {**attributes, "celery.beat.entry": entry}
        self.span = self.setup.tracer.start_span(facts.publishes, context, SpanKind.PRODUCER, attributes)
        self._context_token = attach(set_span_in_context(self.span, context))

    def fail(self, error: BaseException) -> None:
        if self.span is not None:
            call_contained("publish span", record_error, self.span, error)

    def end(self) -> None:
        if self._context_token is not None:
            detach(self._context_token)
        _publishing.reset(self._slot_token)
        if self.span is not None:
            call_contained("publish span", self.span.end)


_publishing: ContextVar[_Publication | None] = ContextVar("obs_celery_publishing", default=None)


def traced_send_task(original: SendTask, setups: Setups) -> SendTask:
    """Return `Celery.send_task` with a span around it.

    Everything that is sent comes through it (apply_async, canvas, retries, beat), registered here or not; unlike the
    signals around a publish it also sees those that fail, wherever they do.
    """

    @functools.wraps(original)
    def send_task(app: Any, name: str, *args: Any, **kwargs: Any) -> Any:
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

    return send_task


def write_message(
    sender: str, headers: MutableMapping[str, Any], body: Any, exchange: Any = None, routing_key: Any = None, **_: Any
) -> None:
    """On ``before_task_publish``: put context and time into the message that is about to leave, and tell what it is."""
    publication = _publishing.get()
    if publication is None:
        return
    # protocol 2 has the task's fields in the headers, protocol 1 in the body
    fields: Mapping[str, Any] = headers if "id" in headers else body
    chord = fields.get("chord") if fields is body else body[2].get("chord")
    retries, previous = fields.get("retries") or 0, None
    task = publication.app.current_worker_task
    if task is not None:
        _keep_chord_together(task, fields, headers)
        if retries and task.request.id == fields.get("id"):
            previous = tell_retry(task.request, headers)
    write_headers(headers, retries, previous)
    span = publication.span
    if span is not None and span.is_recording():
        span.set_attributes(_attributes(publication, fields, chord, exchange, routing_key))
        hook = publication.setup.options.publish_hook
        if hook is not None:
            call_contained("publish_hook", hook, span, sender, headers)


def _attributes(
    publication: _Publication, fields: Mapping[str, Any], chord: Any, exchange: Any, routing_key: Any
) -> dict[str, AttributeValue]:
    found = {
        "messaging.destination.name": destination(exchange, routing_key),
        "messaging.message.id": fields.get("id"),
        "celery.task.id": fields.get("id"),
        "celery.root_id": fields.get("root_id"),
        "celery.parent_id": fields.get("parent_id"),
        "celery.eta": fields.get("eta"),
        "celery.group.id": fields.get("group") or fields.get("taskset"),
        "celery.chord.id": chord_id(chord),
    }
    attributes: dict[str, AttributeValue] = {key: str(value) for key, value in found.items() if value is not None}
    attributes["celery.retries"] = fields.get("retries") or 0
    if routing_key and publication.on_rabbitmq:
        attributes["messaging.rabbitmq.destination.routing_key"] = str(routing_key)
    return attributes


def _keep_chord_together(task: Any, fields: Mapping[str, Any], headers: MutableMapping[str, Any]) -> None:
    """Let a chord's body join the trace of the header that completed it, whatever relation the consumer prefers.

    `task` is the one that is sending: that header, or the task of Celery's own which has waited for all of them.
    """
    if RELATION_HEADER in headers:
        return
    completes = chord_id(task.request.chord) == fields.get("id")
    if completes or (task.name == _CHORD_UNLOCK and fields.get("task") != _CHORD_UNLOCK):
        headers[RELATION_HEADER] = "parent"
