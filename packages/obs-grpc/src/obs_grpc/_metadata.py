"""The trace context in an RPC's metadata; whatever else is in there passes untouched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from obs_core.integration import call_contained, log_failure, outgoing_context, warn_once
from opentelemetry.context import Context
from opentelemetry.propagate import extract, inject
from opentelemetry.propagators.textmap import Getter, Setter

Pair = tuple[str, "str | bytes"]
#: gRPC servers refuse RPCs with more than 8 kB of metadata, by chance from there and always from 16 kB on.
MAX_BYTES = 4096
# what gRPC refuses as a key or value fails the whole RPC
_KEY = re.compile(r"[0-9a-z_.\-]+")


class _Setter(Setter[list[tuple[str, str]]]):
    def set(self, carrier: list[tuple[str, str]], key: str, value: str) -> None:
        carrier.append((key.lower(), value))


class _Getter(Getter[Sequence[Pair]]):
    def get(self, carrier: Sequence[Pair], key: str) -> list[str] | None:
        key = key.lower()
        return [value for name, value in carrier if name == key and isinstance(value, str)] or None

    def keys(self, carrier: Sequence[Pair]) -> list[str]:
        return [name for name, _ in carrier]


_setter, _getter = _Setter(), _Getter()


def with_context(metadata: Iterable[Pair] | None, context: Context) -> Iterable[Pair] | None:
    """Return `metadata` with the keys that carry `context` set: all other pairs stay, in order, duplicates and binary ones too.

    Never raises. What gRPC would refuse (see `MAX_BYTES`) is left out rather than failing the RPC.
    """
    ours: list[tuple[str, str]] = []
    out = outgoing_context(context)
    call_contained("injecting the trace context into gRPC metadata", inject, ours, out, _setter)
    ours = [pair for pair in ours if _fits(*pair)]
    if not metadata or not ours:
        return tuple(ours) or metadata
    keys = {key for key, _ in ours}
    try:
        return (*(pair for pair in metadata if pair[0] not in keys), *ours)
    except Exception:  # noqa: BLE001 - the metadata is the user's; gRPC tells what is wrong with it
        log_failure("adding the trace context to gRPC metadata")
        return metadata


def _fits(key: str, value: str) -> bool:
    if value.isascii() and value.isprintable() and len(value) <= MAX_BYTES and _KEY.fullmatch(key):
        return True
    warn_once(
        f"grpc-metadata:{key}",
        f"{key!r} is not sent over gRPC: it has {len(value)} characters; allowed are {MAX_BYTES}, in printable ASCII",
    )
    return False


def context_of(metadata: Sequence[Pair] | None) -> Context:
    """Return the context that arrived in `metadata`; an empty one where there is none or it cannot be read. Never raises.

    Never the current context: a server's threads and tasks inherit that of whoever started the server.
    """
    if not metadata:
        return Context()
    return (
        call_contained(
            "extracting the trace context from gRPC metadata", extract, metadata, Context(), _getter
        )
        or Context()
    )
