"""Read fields of responses of any SDK: by key, by attribute, or inside a body of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def get(part: object, name: str) -> Any:
    """Return `part`'s entry or attribute `name`, or None."""
    if isinstance(part, Mapping):
        return part.get(name)
    return getattr(part, name, None)


def first_text(part: object, names: Sequence[str]) -> str | None:
    """Return the first non-empty text among the entries or attributes `names` of `part`, or None."""
    for name in names:
        value = get(part, name)
        if isinstance(value, str) and value:
            return value
    return None


def all_items(part: object, names: Sequence[str]) -> Iterator[object]:
    """Iterate over the items of all lists among the entries or attributes `names` of `part`."""
    for name in names:
        found = get(part, name)
        if isinstance(found, (list, tuple)):
            yield from found


def is_raw_response(answer: object) -> bool:
    """Whether `answer` is a response of ``with_raw_response`` or ``with_streaming_response`` (OpenAI, Anthropic)."""
    return hasattr(type(answer), "parse") and hasattr(answer, "http_response")


def raw_content(answer: Any) -> bytes | None:
    """Return the JSON body of a raw response; None before the body is read, and for a stream."""
    try:
        content: bytes = answer.http_response.content
    except Exception:  # noqa: BLE001 - an error of httpx, which is not imported here
        return None
    if content.lstrip().startswith(b"{"):
        return content
    return None


def decoded(piece: object) -> object:
    """Return what a piece wraps: a raw response's JSON, the chunk in an event of Mistral's, the JSON in a chunk of Bedrock's.

    Other pieces are returned unchanged.
    """
    if is_raw_response(piece):
        return _parsed(raw_content(piece), otherwise=None)
    event_data = get(piece, "data")
    if get(event_data, "choices") is not None:
        return event_data
    return _parsed(get(get(piece, "chunk"), "bytes"), otherwise=piece)


def _parsed(content: object, *, otherwise: object) -> object:
    if not isinstance(content, bytes):
        return otherwise
    try:
        return json.loads(content)
    except ValueError:
        return otherwise
