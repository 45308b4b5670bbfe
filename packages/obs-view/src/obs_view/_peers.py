"""The system that a span calls: a database, a broker, a service that sends no spans."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

_CLIENT, _PRODUCER, _CONSUMER = 3, 4, 5


class Peer(NamedTuple):
    """`kind` is ``database``, ``broker``, ``outside``, or empty if unknown."""

    kind: str
    name: str


NO_PEER = Peer("", "")
# the first attribute that a span has decides; former names after current ones
_KINDS = {
    "messaging.system": "broker",
    "db.system.name": "database",
    "db.system": "database",
    "gen_ai.provider.name": "outside",
    "gen_ai.system": "outside",
    "peer.service": "outside",
    "server.address": "outside",
    "net.peer.name": "outside",
    "url.full": "outside",
    "http.url": "outside",
}
_DATABASES = ("db.namespace", "db.name")
_WANTED = {*_KINDS, *_DATABASES}


def peer_of(span: ProtoSpan) -> Peer:
    """Return the peer of a CLIENT, PRODUCER or CONSUMER span."""
    if span.kind not in (_CLIENT, _PRODUCER, _CONSUMER):
        return NO_PEER
    found = {
        pair.key: pair.value.string_value
        for pair in span.attributes
        if pair.key in _WANTED
    }
    for key, kind in _KINDS.items():
        if found.get(key):
            return Peer(kind, _name(key, found))
    return NO_PEER


def _name(key: str, found: dict[str, str]) -> str:
    value = found[key]
    if key.startswith("db."):
        return " ".join([value, *filter(None, map(found.get, _DATABASES))][:2])
    return urlsplit(value).hostname or value if "url" in key else value
