"""Inject the trace context into the metadata of an RPC, and extract the context; further metadata passes unchanged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from obs_core.integration import (
    call_contained,
    extract,
    inject,
    log_failure,
    outgoing_context,
    warn_once,
)
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter, Setter

Pair = tuple[str, "str | bytes"]
#: gRPC servers may refuse RPCs with more than 8 kB of metadata, and refuse all with more than 16 kB.
MAX_BYTES = 4096
# a key or value that gRPC refuses fails the whole RPC
_KEY = re.compile(r"[0-9a-z_.\-]+")


class _Setter(Setter[list[tuple[str, str]]]):
    def set(self, carrier: list[tuple[str, str]], key: str, value: str) -> None:
        carrier.append((key.lower(), value))


class _Getter(Getter[Sequence[Pair]]):
    def get(self, carrier: Sequence[Pair], key: str) -> list[str] | None:
        key = key.lower()
        values = [
            value for name, value in carrier if name == key and isinstance(value, str)
        ]
        return values or None

    def keys(self, carrier: Sequence[Pair]) -> list[str]:
        return [name for name, _ in carrier]


_setter, _getter = _Setter(), _Getter()


def with_context(
    metadata: Iterable[Pair] | None, context: Context
) -> Iterable[Pair] | None:
    """Return `metadata` with `context`; further pairs stay in order, with duplicates and binary values.

    Never raises. Keys and values that gRPC would refuse (see `MAX_BYTES`) are left out.
    """
    added: list[tuple[str, str]] = []
    outgoing = outgoing_context(context)
    call_contained(
        "injecting the trace context into gRPC metadata",
        inject,
        added,
        outgoing,
        _setter,
    )
    added = [pair for pair in added if _fits(*pair)]
    if not metadata or not added:
        return tuple(added) or metadata
    keys = {key for key, _ in added}
    try:
        return (*(pair for pair in metadata if pair[0] not in keys), *added)
    except Exception:  # noqa: BLE001 - the metadata is the user's; gRPC reports the mistake
        log_failure("adding the trace context to gRPC metadata")
        return metadata


def _fits(key: str, value: str) -> bool:
    is_text = value.isascii() and value.isprintable()
    if is_text and len(value) <= MAX_BYTES and _KEY.fullmatch(key):
        return True
    warn_once(
        f"grpc-metadata:{key}",
        f"{key!r} is not sent over gRPC: it has {len(value)} characters; allowed are {MAX_BYTES}, in printable ASCII",
    )
    return False


def context_of(metadata: Sequence[Pair] | None) -> Context:
    """Return the context in `metadata`, or an empty context. Never raises.

    Never the current context: threads and tasks of a server inherit the context in which the server was started.
    """
    if not metadata:
        return Context()
    action = "extracting the trace context from gRPC metadata"
    return call_contained(action, extract, metadata, Context(), _getter) or Context()
