"""A trace, or several linked traces joined, as JSON for the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from obs_view._critical_path import critical_path
from obs_view._model import Event, Link, Log, Span
from obs_view._store import Store
from obs_view._topology import topology
from obs_view._trace import Trace
from obs_view._tree import Row

_SAFE_INTEGER = 2**53 - 1


def page_data(
    store: Store, trace_id: str, merged: bool = False
) -> dict[str, Any] | None:
    """Return a trace for the page, or None if unknown; `merged` joins the linked traces.

    Times are nanoseconds after the trace's ``start`` (milliseconds since the epoch), spans in the order of the tree.
    """
    ids = store.linked(trace_id)
    sequence = store.newest(ids)
    linked = [trace for trace in map(store.get, ids) if trace is not None]
    if not linked:
        return None
    shown = linked if merged else linked[:1]
    trace = merge(linked) if merged else linked[0]
    logs = sorted(chain.from_iterable(each.logs for each in shown), key=_time)
    resources = {id(span.resource): span.resource for span in trace.spans}
    numbers = {key: number for number, key in enumerate(resources)}
    path = critical_path(trace)
    back = _incoming(linked, trace)
    return {
        **_brief(trace),
        "id": trace_id,
        "merged": merged,
        "sequence": sequence,
        "correlation": trace.correlation_ids,
        "missing": trace.missing_parents,
        "kept": trace.kept,
        "linked": [_brief(other) for other in linked if other.trace_id != trace_id],
        "resources": [safe(resource) for resource in resources.values()],
        "rows": [_row(row, trace, path, back, numbers) for row in trace.rows],
        "logs": [log_data(log, trace.start_time) for log in logs],
        "map": store.read_some(ids if merged else ids[:1], topology),
    }


def _time(log: Log) -> int:
    return log.time


def log_data(log: Log, zero: int = 0) -> dict[str, Any]:
    """Return a log record for the page; `time` is nanoseconds after `zero`."""
    return {
        "time": log.time - zero,
        "severity": log.severity,
        "level": log.level,
        "body": log.body,
        "service": log.service,
        "trace": log.trace_id,
        "span": log.span_id,
        "attributes": _safe_attributes(log.attributes),
    }


def merge(traces: Iterable[Trace]) -> Trace:
    """Join linked traces: a root that links to a span of another trace hangs below it."""
    spans: dict[str, Span] = {}
    for trace in traces:
        spans.update(trace.by_id)
    return Trace(_below_origin(span, spans) for span in spans.values())


def _below_origin(span: Span, known: Mapping[str, Span]) -> Span:
    """Return a root as child of the first linked span of another trace; any other span unchanged."""
    if span.parent_id:
        return span
    for link in span.links:
        if link.span_id in known and link.trace_id != span.trace_id:
            return span._replace(parent_id=link.span_id)
    return span


def _brief(trace: Trace) -> dict[str, Any]:
    return {
        "id": trace.trace_id,
        "name": trace.root.name,
        "service": trace.root.service,
        "start": trace.start_time / 1e6,
        "duration": trace.duration,
        "errors": trace.errors,
        "spans": len(trace.spans),
        "services": trace.services,
    }


def _incoming(linked: Iterable[Trace], trace: Trace) -> dict[str, list[dict[str, Any]]]:
    """Return for each span of `trace` the spans with a link to this span."""
    found: dict[str, list[dict[str, Any]]] = {}
    for span in (span for other in linked for span in other.spans):
        for link in span.links:
            if link.span_id in trace.by_id:
                source = {
                    "trace": span.trace_id,
                    "span": span.span_id,
                    "name": span.name,
                    "service": span.service,
                }
                found.setdefault(link.span_id, []).append(source)
    return found


def _row(
    row: Row,
    trace: Trace,
    path: Mapping[str, list[tuple[int, int]]],
    back: Mapping[str, list[dict[str, Any]]],
    resources: Mapping[int, int],
) -> dict[str, Any]:
    span, zero = row.span, trace.start_time
    fields: dict[str, Any] = {
        "id": span.span_id,
        "trace": span.trace_id,
        "parent": span.parent_id,
        "depth": row.depth,
        "name": span.name,
        "service": span.service,
        "kind": span.kind,
        "status": span.status,
        "start": max(0, span.start_time - zero),
        "duration": span.duration,
        "attributes": _safe_attributes(span.attributes),
        "resource": resources[id(span.resource)],
    }
    _add_optional(fields, span, trace)
    segments, linked_from = path.get(span.span_id), back.get(span.span_id)
    if segments:
        fields["path"] = [(start - zero, end - zero) for start, end in segments]
    if linked_from:
        fields["linked_from"] = linked_from
    return fields


def _add_optional(fields: dict[str, Any], span: Span, trace: Trace) -> None:
    """Add the fields that most spans do not have."""
    zero = trace.start_time
    if span.description:
        fields["description"] = span.description
    if span.scope:
        fields["scope"] = span.scope
    if span.attempt > 1:
        fields["attempt"] = span.attempt
    if early := _early(span, trace):
        fields["early"] = early
    if span.events:
        fields["events"] = [_event(event, zero) for event in span.events]
    if span.links:
        fields["links"] = [_link(link, trace) for link in span.links]


def _event(event: Event, zero: int) -> dict[str, Any]:
    attributes = _safe_attributes(event.attributes)
    return {"name": event.name, "time": event.time - zero, "attributes": attributes}


def _early(span: Span, trace: Trace) -> int:
    """Return the nanoseconds by which the span starts before the parent, as different clocks say; else 0."""
    parent = trace.by_id.get(span.parent_id)
    if parent is None or not span.start_time:
        return 0
    return max(0, parent.start_time - span.start_time)


def _link(link: Link, trace: Trace) -> dict[str, Any]:
    target = trace.by_id.get(link.span_id)
    return {
        "trace": link.trace_id,
        "span": link.span_id,
        "name": "" if target is None else target.name,
        "attributes": _safe_attributes(link.attributes),
    }


def safe(value: Any) -> Any:
    """Return `value` with integers that JavaScript cannot hold as strings."""
    if isinstance(value, dict):
        return {key: safe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [safe(item) for item in value]
    if _is_safe(value):
        return value
    return str(value)


def _is_safe(value: Any) -> bool:
    return type(value) is not int or -_SAFE_INTEGER <= value <= _SAFE_INTEGER


def _safe_attributes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `attributes` unchanged if all are safe: copying those of each span would double the time of the page."""
    for value in attributes.values():
        if type(value) is not str and (
            isinstance(value, (dict, list)) or not _is_safe(value)
        ):
            return {key: safe(item) for key, item in attributes.items()}
    return attributes
