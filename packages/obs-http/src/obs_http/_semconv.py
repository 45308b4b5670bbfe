"""Former attribute names in addition to the stable names, if ``OTEL_SEMCONV_STABILITY_OPT_IN=http/dup``.

https://opentelemetry.io/docs/specs/semconv/non-normative/http-migration/. Stable names are always recorded;
former names are those of contrib's instrumentations, for existing dashboards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from obs_core.integration import FormerNames
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

_BOTH_SIDES: dict[str, str | tuple[str, ...]] = {
    "http.request.method": "http.method",
    "http.response.status_code": "http.status_code",
    "network.protocol.version": "http.flavor",
}
SERVER = FormerNames(
    "http/dup",
    {
        **_BOTH_SIDES,
        "client.address": "net.peer.ip",
        "client.port": "net.peer.port",
        "server.address": ("net.host.name", "http.host", "http.server_name"),
        "server.port": "net.host.port",
        "url.path": "http.target",
        "url.scheme": "http.scheme",
        "user_agent.original": "http.user_agent",
    },
)
CLIENT = FormerNames(
    "http/dup",
    {
        **_BOTH_SIDES,
        "server.address": ("net.peer.name", "http.host"),
        "server.port": "net.peer.port",
        "url.full": "http.url",
    },
)
#: Of a server's measurement: contrib's target was the route, too.
SERVER_METRICS = FormerNames(
    "http/dup",
    {**_BOTH_SIDES, "url.scheme": "http.scheme", "http.route": "http.target"},
)
_URL_PARTS = ("url.scheme", "server.address", "server.port", "url.path", "url.query")


def add_former_names(
    span: Span, names: FormerNames, more: Mapping[str, AttributeValue | None]
) -> None:
    """Record the attributes of `span`, about to end, under former names too.

    Args:
        span: Any span; attributes recorded under a former name stay.
        names: The names in force.
        more: Further values, by stable name, that are not on the span yet; or None.
    """
    recorded: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    known = {
        **recorded,
        **{name: value for name, value in more.items() if value is not None},
    }
    former = names.of(known)
    if "http.target" in former:  # a server's, which has no url.full
        former["http.url"] = _url(known)
    span.set_attributes(
        {name: value for name, value in former.items() if name not in recorded}
    )


def _url(known: Mapping[str, AttributeValue]) -> str:
    scheme, host, port, path, query = (
        str(known.get(name) or "") for name in _URL_PARTS
    )
    if port not in ("", "80", "443"):
        host += f":{port}"
    if query:
        path += f"?{query}"
    return f"{scheme}://{host}{path}"
