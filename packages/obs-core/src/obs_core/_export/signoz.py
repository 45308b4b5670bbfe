"""The attributes that SigNoz's panes read, made from the names of the stable conventions.

Its collector decides by them into which pane a span goes: `getRemoteAddress` and `aggregateMetricsForSpan` in
https://github.com/SigNoz/signoz-otel-collector/blob/75a995d/processor/signozspanmetricsprocessor/processor.go. The rows of
``docs/backends.md`` name the source of each pane.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.trace import SpanKind

Found = dict[str, Any]

_FORMER_SYSTEMS = {
    "microsoft.sql_server": "mssql",
    "oracle.db": "oracle",
    "aws.dynamodb": "dynamodb",
}
#: What makes a database span an external call as well: the address is kept under another name, the rest is not read.
_MOVED = {
    "server.address": "obs.db.server.address",
    "server.port": "obs.db.server.port",
}
_ADDRESSES = (
    *("peer.service", "net.peer.name", "net.peer.port", "net.peer.ip", "http.host"),
    *("net.sock.peer.addr", "net.sock.peer.port"),
    *("network.peer.address", "network.peer.port"),
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_GRPC_CODES = {
    name: code
    for code, name in enumerate(
        (
            *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED"),
            *("NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED"),
            *("RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE"),
            *("UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
            "UNAUTHENTICATED",
        )
    )
}


def signoz_attributes(given: Mapping[str, Any], kind: SpanKind) -> Found | None:
    """Return the attributes of a span of this kind as SigNoz reads them; None: as they are given."""
    found: Found = {}
    for marker, rule in _RULES:
        if marker in (found or given):
            found = found or dict(given)
            rule(found, kind)
    return found or None


def _rpc(found: Found, kind: SpanKind) -> None:
    """Add the established names beside the newer names, of which ``rpc.method`` is both."""
    found.setdefault("rpc.system", found["rpc.system.name"])
    service, slash, method = str(found.get("rpc.method", "")).rpartition("/")
    if slash:
        found |= {"rpc.service": service, "rpc.method": method}
    code = _GRPC_CODES.get(found.get("rpc.response.status_code", ""))
    if code is not None:
        found.setdefault("rpc.grpc.status_code", code)


def _database(found: Found, kind: SpanKind) -> None:
    """Add the names that Database Calls want."""
    system = found["db.system.name"]
    found.setdefault("db.system", _FORMER_SYSTEMS.get(system, system))
    if "db.namespace" in found:
        found.setdefault("db.name", found["db.namespace"])


def _database_alone(found: Found, kind: SpanKind) -> None:
    """Leave out what makes an external call of a database call, unless it is a call of an API too."""
    if kind is not SpanKind.CLIENT or "rpc.system" in found:
        return
    for name in _ADDRESSES:
        found.pop(name, None)
    for name, kept in _MOVED.items():
        if name in found:
            found[kept] = found.pop(name)


def _http(found: Found, kind: SpanKind) -> None:
    found.setdefault("http.method", found["http.request.method"])
    if kind is SpanKind.CLIENT and "server.address" in found:
        found["http.host"] = _authority(found)


def _authority(found: Found) -> str:
    """Return host and port, without the scheme's own port, as in a ``Host`` header."""
    host, port = str(found["server.address"]), found.get("server.port")
    if ":" in host:
        host = f"[{host}]"
    scheme = found.get("url.scheme") or str(found.get("url.full", "")).partition(":")[0]
    if port is None or port == _DEFAULT_PORTS.get(scheme):
        return host
    return f"{host}:{port}"


def _peer(found: Found, kind: SpanKind) -> None:
    """Add the port as a string: of a number, SigNoz shows ``host:``."""
    if kind is SpanKind.CLIENT and _NAMED.isdisjoint(found):
        found["net.peer.name"] = found["server.address"]
        if "server.port" in found:
            found["net.peer.port"] = str(found["server.port"])


def _task(found: Found, kind: SpanKind) -> None:
    found.setdefault("celery.task_name", found["celery.task.name"])


def _language_model(found: Found, kind: SpanKind) -> None:
    found.setdefault("gen_ai.system", found["gen_ai.provider.name"])
    for name, read in _LANGUAGE_MODEL.items():
        if name in found:
            found.setdefault(read, found[name])


_LANGUAGE_MODEL = {
    "gen_ai.response.time_to_first_chunk": "gen_ai.server.ttft",
    "error.type": "gen_ai.error.type",
}
#: A span with one of these has its address from the rules before, or is in no need of any.
_NAMED = frozenset({"rpc.system", "http.host", "net.peer.name"})
_RULES: tuple[tuple[str, Callable[[Found, SpanKind], None]], ...] = (
    ("rpc.system.name", _rpc),
    ("db.system.name", _database),
    ("db.system", _database_alone),
    ("http.request.method", _http),
    ("celery.task.name", _task),
    ("gen_ai.provider.name", _language_model),
    ("server.address", _peer),
)
