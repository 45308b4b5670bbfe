"""One trace as JSON for the page, and linked traces as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from obs_view._critical_path import critical_path
from obs_view._model import Event, Link, Log, Row, Span, Trace
from obs_view._store import Store
from obs_view._topology import topology

_SAFE_INTEGER = 2**53 - 1


def page_data(store: Store, trace_id: str, merged: bool = False) -> dict[str, Any] | None:
    """Return the trace of that id as the page shows it, or None; `merged` joins the traces that are linked with it.

    Times are nanoseconds after the trace's ``start`` (milliseconds since the epoch), spans in the order of the tree.
    """
    ids = store.linked(trace_id)
    sequence = store.newest(ids)
    linked = [trace for trace in map(store.get, ids) if trace is not None]
    if not linked:
        return None
    trace = merge(linked) if merged else linked[0]
    resources: dict[int, tuple[int, Mapping[str, Any]]] = {}
    for span in trace.spans:
        resources.setdefault(id(span.resource), (len(resources), span.resource))
    path, back = critical_path(trace), _incoming(linked, trace)
    numbers = {key: number for key, (number, _) in resources.items()}
    return {
        **_brief(trace),
        "id": trace_id,
        "merged": merged,
        "sequence": sequence,
        "correlation": trace.correlation_ids,
        "missing": trace.missing_parents,
        "linked": [_brief(other) for other in linked if other.trace_id != trace_id],
        "resources": [_safe(resource) for _, resource in resources.values()],
        "rows": [_row(row, trace, path, back, numbers) for row in trace.rows],
        "logs": [log_data(log, trace.start_time) for log in _logs(trace, linked if merged else ())],
        "map": store.read_some(ids if merged else ids[:1], topology),
    }


def _logs(trace: Trace, merged: Iterable[Trace]) -> list[Log]:
    logs = [log for other in merged for log in other.logs] or list(trace.logs)
    return sorted(logs, key=lambda log: log.time)


def log_data(log: Log, zero: int = 0) -> dict[str, Any]:
    """Return a log record as the page shows it; `time` is nanoseconds after `zero`."""
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
    spans = {span.span_id: span for trace in traces for span in trace.spans}
    return Trace(
        span._replace(parent_id=_origin(span, spans)) if not span.parent_id else span
        for span in spans.values()
    )


def _origin(span: Span, known: Mapping[str, Span]) -> str:
    return next(
        (
            link.span_id
            for link in span.links
            if link.span_id in known and link.trace_id != span.trace_id
        ),
        "",
    )


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
    """Return for each span of `trace` which spans link to it."""
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
    """Add what most spans do not have."""
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
    """Return by how many nanoseconds the span starts before its parent, which only clocks that differ can do."""
    parent = trace.by_id.get(span.parent_id)
    return max(0, parent.start_time - span.start_time) if parent and span.start_time else 0


def _link(link: Link, trace: Trace) -> dict[str, Any]:
    here = trace.by_id.get(link.span_id)
    return {
        "trace": link.trace_id,
        "span": link.span_id,
        "name": here.name if here else "",
        "attributes": _safe_attributes(link.attributes),
    }


def _safe(value: Any) -> Any:
    """Return `value` with integers that JavaScript cannot hold as strings."""
    if isinstance(value, dict):
        return {key: _safe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_safe(item) for item in value]
    return value if _is_safe(value) else str(value)


def _is_safe(value: Any) -> bool:
    return type(value) is not int or -_SAFE_INTEGER <= value <= _SAFE_INTEGER


def _safe_attributes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `attributes` as they are where all of them are safe, which a copy of each span's would double the time of."""
    for value in attributes.values():
        if type(value) is not str and (isinstance(value, (dict, list)) or not _is_safe(value)):
            return {key: _safe(item) for key, item in attributes.items()}
    return attributes
