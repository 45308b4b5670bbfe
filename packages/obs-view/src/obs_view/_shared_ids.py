"""Spans that share an id, as client and server do in Zipkin's style, get different ids."""

from __future__ import annotations

from collections.abc import Mapping

from obs_view._model import Span


def with_own_ids(spans: list[Span]) -> list[Span]:
    """Give spans that share an id (client and server, in Zipkin's style) different ids.

    The second span gets a new id below the first, and the children of the same service.
    """
    by_id: dict[str, list[Span]] = {}
    for span in spans:
        by_id.setdefault(span.span_id, []).append(span)
    if len(by_id) == len(spans):
        return spans
    owners = {
        (span_id, span.service): _numbered(span_id, number)
        for span_id, same in by_id.items()
        for number, span in enumerate(sorted(same, key=_client_first))
    }
    return [_parted(span, owners) for span in spans]


def _numbered(span_id: str, number: int) -> str:
    if number == 0:
        return span_id
    return f"{span_id}-{number}"


def _client_first(span: Span) -> tuple[bool, int]:
    return span.kind not in ("CLIENT", "PRODUCER"), span.start_time


def _parted(span: Span, owners: Mapping[tuple[str, str], str]) -> Span:
    own = owners[span.span_id, span.service]
    if own != span.span_id:
        return span._replace(span_id=own, parent_id=span.span_id)
    parent = owners.get((span.parent_id, span.service), span.parent_id)
    return span._replace(parent_id=parent)
