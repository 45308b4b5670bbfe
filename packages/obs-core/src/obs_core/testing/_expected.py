"""A whole span as lines of text, for comparisons with a readable difference."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import ndiff
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

#: In place of an expected value: present, whatever the value.
ANY = ...


def compare(
    span: ReadableSpan,
    spans: Iterable[ReadableSpan],
    expected: Mapping[str, object],
    attributes: Mapping[str, Any],
) -> None:
    """Compare `span` with the `expected` parts and `attributes`; raise AssertionError with a line-by-line difference."""
    recorded = dict(span.attributes or {})
    for key, value in attributes.items():
        if value is ANY and key in recorded:
            recorded[key] = ANY
    actual = _lines(_parts(span, spans), recorded)
    wanted = _lines(expected, attributes)
    if actual != wanted:
        raise AssertionError(
            f"span {span.name!r} differs:\n" + "\n".join(ndiff(wanted, actual))
        )


def _lines(parts: Mapping[str, object], attributes: Mapping[str, Any]) -> list[str]:
    lines = [f"{name}: {value!r}" for name, value in parts.items()]
    lines += [f"{key} = {_text(attributes[key])}" for key in sorted(attributes)]
    return lines


def _text(value: object) -> str:
    if value is ANY:
        return "..."
    if isinstance(value, list):  # the SDK keeps a tuple
        value = tuple(value)
    return repr(value)


def _parts(span: ReadableSpan, spans: Iterable[ReadableSpan]) -> dict[str, object]:
    status = span.status.status_code.name
    if span.status.description:
        status += f": {span.status.description}"
    return {
        "kind": span.kind.name,
        "status": status,
        "parent": _parent(span, spans),
        "links": [link.context.span_id for link in span.links],
        "events": [event.name for event in span.events],
    }


def _parent(span: ReadableSpan, spans: Iterable[ReadableSpan]) -> str | int | None:
    """The name of the parent; the id of a parent that is not among `spans`; None for a root."""
    if span.parent is None:
        return None
    parent_id = span.parent.span_id
    return next(
        (each.name for each in spans if each.context.span_id == parent_id), parent_id
    )


def span_ids(links: Collection[ReadableSpan | int]) -> list[int]:
    """Return the span ids of `links`: spans, or ids."""
    return [link if isinstance(link, int) else link.context.span_id for link in links]
