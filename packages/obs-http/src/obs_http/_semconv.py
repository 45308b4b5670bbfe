"""Former attribute names in addition to the stable names, if ``OTEL_SEMCONV_STABILITY_OPT_IN=http/dup``.

https://opentelemetry.io/docs/specs/semconv/non-normative/http-migration/. Stable names are always recorded;
former names are those of contrib's instrumentations, for existing dashboards.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

#: Stable name → former names.
OlderNames = Mapping[str, tuple[str, ...]]

_VARIABLE = "OTEL_SEMCONV_STABILITY_OPT_IN"
_BOTH_SIDES = {
    "http.request.method": ("http.method",),
    "http.response.status_code": ("http.status_code",),
    "network.protocol.version": ("http.flavor",),
}
SERVER: OlderNames = {
    **_BOTH_SIDES,
    "client.address": ("net.peer.ip",),
    "client.port": ("net.peer.port",),
    "server.address": ("net.host.name", "http.host", "http.server_name"),
    "server.port": ("net.host.port",),
    "url.path": ("http.target",),
    "url.scheme": ("http.scheme",),
    "user_agent.original": ("http.user_agent",),
}
CLIENT: OlderNames = {
    **_BOTH_SIDES,
    "server.address": ("net.peer.name", "http.host"),
    "server.port": ("net.peer.port",),
    "url.full": ("http.url",),
}
_URL_PARTS = ("url.scheme", "server.address", "server.port", "url.path", "url.query")
_NONE: OlderNames = {}


def older_names(side: OlderNames) -> OlderNames:
    """Return `side` (`SERVER` or `CLIENT`) if the environment selects both conventions, else an empty mapping."""
    asked = os.environ.get(_VARIABLE, "").split(",")
    if "http/dup" in map(str.strip, asked):
        return side
    return _NONE


def add_older_names(
    span: Span, names: OlderNames, more: Mapping[str, AttributeValue | None]
) -> None:
    """Record the attributes of `span`, about to end, under former names too.

    Args:
        span: Any span; attributes recorded under a former name stay.
        names: The result of `older_names`.
        more: Further values, by stable name, that are not on the span yet; or None.
    """
    recorded: Mapping[str, AttributeValue] = getattr(span, "attributes", None) or {}
    known = dict(recorded)
    known.update((name, value) for name, value in more.items() if value is not None)
    older: dict[str, AttributeValue] = {}
    for name, former in names.items():
        if name in known:
            older.update(dict.fromkeys(former, known[name]))
    if "url.path" in names and "url.path" in known:
        older["http.url"] = _url(known)
    span.set_attributes({name: value for name, value in older.items() if name not in recorded})


def _url(known: Mapping[str, AttributeValue]) -> str:
    scheme, host, port, path, query = (str(known.get(name) or "") for name in _URL_PARTS)
    if port not in ("", "80", "443"):
        host += f":{port}"
    if query:
        path += f"?{query}"
    return f"{scheme}://{host}{path}"
