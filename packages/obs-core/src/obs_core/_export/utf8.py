"""Export spans with text that UTF-8 cannot hold: OTLP's encoder refuses the whole batch for a lone surrogate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Status

from obs_core._safety.text import exportable

_T = TypeVar("_T")


def export_encodable(
    export: Callable[[list[ReadableSpan]], bool], batch: list[ReadableSpan]
) -> bool:
    """Export `batch`, and again with replaced text if refused for invalid text; return whether the batch was taken.

    On invalid text the exporters raise, or (1.45) answer like a refusal of the collector; the whole batch would be lost.
    """
    refusal: Exception | None = None
    try:
        if export(batch):
            return True
    except (TypeError, ValueError) as error:
        refusal = error
    if (encodables := [encodable(span) for span in batch]) != batch:
        return export(encodables)
    if refusal is not None:
        raise refusal
    return False


def encodable(span: ReadableSpan) -> ReadableSpan:
    """Return `span`, or a clean copy of a span with text outside UTF-8 or a name that is no text."""
    status, scope = span.status, span.instrumentation_scope
    clean = ReadableSpan(
        name=_text(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_attributes(span.attributes, span.dropped_attributes),
        events=_bounded(map(_event, span.events), span.dropped_events),
        links=_bounded(map(_link, span.links), span.dropped_links),
        kind=span.kind,
        status=Status(
            status.status_code, status.description and _text(status.description)
        ),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=scope
        and InstrumentationScope(
            _text(scope.name),
            scope.version,
            scope.schema_url,
            _attributes(scope.attributes),
        ),
    )
    return span if _told(clean) == _told(span) else clean


def _told(span: ReadableSpan) -> tuple[object, ...]:
    """Return all text of `span` that the program chose."""
    events = [(event.name, dict(event.attributes or {})) for event in span.events]
    links = [dict(link.attributes or {}) for link in span.links]
    scope = span.instrumentation_scope
    return (
        span.name,
        dict(span.attributes or {}),
        events,
        links,
        span.status.description,
        scope and (scope.name, dict(scope.attributes or {})),
    )


def _bounded(items: Iterable[_T], dropped: int) -> Sequence[_T]:
    clean: BoundedList[_T] = BoundedList.from_seq(None, list(items))
    clean.dropped = dropped
    return clean


def _event(event: Event) -> Event:
    attributes = _attributes(event.attributes, event.dropped_attributes)
    return Event(_text(event.name), attributes, event.timestamp)


def _link(link: Link) -> Link:
    return Link(link.context, _attributes(link.attributes, link.dropped_attributes))


def _attributes(
    attributes: Mapping[str, Any] | None, dropped: int = 0
) -> Mapping[str, Any]:
    clean = {_text(key): _value(value) for key, value in (attributes or {}).items()}
    if not dropped:
        return clean
    bounded = BoundedAttributes(attributes=clean)
    bounded.dropped = dropped
    return bounded


def _value(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_value(item) for item in value)
    return exportable(value) if isinstance(value, str) else value


def _text(text: object) -> str:
    return exportable(text if isinstance(text, str) else str(text))
