"""The text of responses and chunks, in the forms of the providers' SDKs."""

from __future__ import annotations

from obs_core._llm.fields import all_items, first_text, get

CHOICES = ("choices", "candidates")


def answer_text(piece: object, *, whole_too: bool) -> str:
    """Return the text that the chunk `piece` adds; with `whole_too` also the text of a whole message."""
    if isinstance(piece, str):
        return piece
    if get(piece, "type") == "text" and get(piece, "snapshot") is not None:
        return ""  # Anthropic's helper repeats each delta in an event of another type
    parts = (piece, get(piece, "contentBlockDelta"), *all_items(piece, CHOICES))
    added = "".join(map(_delta, parts))
    if whole_too and not added:
        return _whole(piece)
    return added


def _delta(part: object) -> str:
    delta = get(part, "delta")
    if isinstance(delta, str):
        return delta
    return first_text(delta, ("content", "text")) or ""


def _whole(piece: object) -> str:
    choices = [get(choice, "message") or choice for choice in all_items(piece, CHOICES)]
    output = get(get(piece, "output"), "message")
    messages = [piece, get(piece, "message"), output, *choices]
    texts = filter(None, map(_content, messages))
    return first_text(piece, ("output_text",)) or next(texts, "")


def _content(message: object) -> str:
    content = get(message, "content")
    blocks = get(content, "parts") or content
    if isinstance(blocks, (list, tuple)):
        return "".join(first_text(block, ("text",)) or "" for block in blocks)
    if isinstance(content, str):
        return content
    return ""
