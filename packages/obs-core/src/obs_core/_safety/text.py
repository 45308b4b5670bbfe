"""Make text exportable: valid UTF-8 of a bounded size."""

from __future__ import annotations


def exportable(text: str) -> str:
    """Replace lone surrogates: without UTF-8 form, OTLP's encoder refuses the whole batch."""
    return text.encode("utf-8", "replace").decode()


def truncate(text: str, max_bytes: int) -> str:
    """Cut `text` to at most `max_bytes` of UTF-8, between characters, ending in ``…`` where anything was cut."""
    if len(text) * 4 <= max_bytes:
        return text
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= max_bytes:
        return text
    kept_bytes = max(0, max_bytes - len("…".encode()))
    return encoded[:kept_bytes].decode("utf-8", "ignore") + "…"
