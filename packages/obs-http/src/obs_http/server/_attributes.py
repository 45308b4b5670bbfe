"""The attributes of a request's span, in the stable HTTP conventions.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obs_core.integration import Redactor
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from obs_http._attributes import DEFAULT_PORTS, KNOWN_METHODS, bounded_method
from obs_http._headers import text
from obs_http.server._legacy_attributes import legacy_attributes
from obs_http.server._types import Scope

if TYPE_CHECKING:
    from obs_http.server._options import Settings
    from obs_http.server._outcome import Outcome

_MASKED_URLS = ("url.full", "http.url", "http.target")


def span_method(scope: Scope) -> str:
    """Return the method for the span's name: of low cardinality, for any request."""
    if scope["type"] == "websocket":
        return "WS"
    return bounded_method(scope.get("method", ""), "HTTP")


def active_attributes(scope: Scope) -> dict[str, AttributeValue]:
    """Return the attributes of a request in progress: of low cardinality, for any request."""
    return {
        "http.request.method": bounded_method(scope.get("method", "")),
        "url.scheme": scope.get("scheme") or "http",
    }


def former_metric_attributes(scope: Scope) -> dict[str, AttributeValue]:
    """Return the former attributes without a stable name: the server's own address, not what a caller says it is."""
    host, port = scope.get("server") or (None, None)
    found = {"http.host": host, "net.host.port": port}
    return {name: value for name, value in found.items() if value is not None}


def metric_attributes(
    scope: Scope, route: str | None, status: int | None, error_type: str | None
) -> dict[str, AttributeValue]:
    """Return the attributes of the measurement: of low cardinality, for any request."""
    attributes = active_attributes(scope)
    if "http_version" in scope:
        attributes["network.protocol.version"] = scope["http_version"]
    if route is not None:
        attributes["http.route"] = route
    if status is not None:
        attributes["http.response.status_code"] = status
    if error_type is not None:
        attributes["error.type"] = error_type
    return attributes


class RequestAttributes(Mapping[str, AttributeValue]):
    """The start attributes of a request's span; built only if the sampler or the span reads them."""

    __slots__ = ("_found", "_given")

    def __init__(
        self, scope: Scope, headers: Mapping[str, list[str]], redactor: Redactor
    ) -> None:
        self._given = (scope, headers, redactor)
        self._found: dict[str, AttributeValue] | None = None

    def copy(self) -> dict[str, AttributeValue]:
        """Return the attributes as a new dict."""
        if self._found is None:
            self._found = request_attributes(*self._given)
        return self._found.copy()

    def __getitem__(self, key: str) -> AttributeValue:
        return self.copy()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.copy())

    def __len__(self) -> int:
        return len(self.copy())


def request_attributes(
    scope: Scope, headers: Mapping[str, list[str]], redactor: Redactor
) -> dict[str, AttributeValue]:
    """Return the start attributes of the span."""
    scheme = scope.get("scheme") or ("http" if scope["type"] == "http" else "ws")
    attributes: dict[str, AttributeValue] = {
        "url.scheme": scheme,
        "url.path": scope.get("path", ""),
    }
    if scope["type"] == "http":
        _add_method(attributes, scope.get("method", ""))
    else:
        attributes["network.protocol.name"] = "websocket"
    query = scope.get("query_string")
    if query:
        attributes["url.query"] = redactor.query(text(query))
    version = scope.get("http_version")
    if version:
        attributes["network.protocol.version"] = version
    _add_server(attributes, scope, headers.get("host"), scheme)
    client = scope.get("client")
    if client:
        attributes["client.address"] = client[0]
    if "user-agent" in headers:
        attributes["user_agent.original"] = headers["user-agent"][0]
    return attributes


def _add_method(attributes: dict[str, AttributeValue], method: str) -> None:
    if method in KNOWN_METHODS:
        attributes["http.request.method"] = method
    else:
        attributes["http.request.method"] = "_OTHER"
        attributes["http.request.method_original"] = method


def _add_server(
    attributes: dict[str, AttributeValue],
    scope: Scope,
    host: list[str] | None,
    scheme: str,
) -> None:
    address, port = scope.get("server") or (None, None)
    if host:
        address, port = _authority(host[0], scheme)
    if address:
        attributes["server.address"] = address
        if port is not None:
            attributes["server.port"] = port


def _authority(host: str, scheme: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit("//" + host)
        return parts.hostname, parts.port or DEFAULT_PORTS.get(scheme)
    except ValueError:
        return None, None


def enrich(
    outcome: Outcome, scope: Scope, settings: Settings, correlation_id: str | None
) -> None:
    """Record captured headers and the correlation id; mask the secrets of a span that other code has opened."""
    span = outcome.span
    if settings.request_capture:
        span.set_attributes(
            settings.request_capture.attributes(scope.get("headers", ()))
        )
    if not outcome.owned:
        if scope.get("query_string"):
            _mask(span, scope, settings.redactor())
        outcome.add_former_names()
    if correlation_id is None:
        return
    if not outcome.owned:
        # the span was opened before the id was known, so obs-core's processor could not set it
        span.set_attribute("correlation_id", correlation_id)
    if settings.options.legacy_attributes:
        span.set_attributes(legacy_attributes(correlation_id))


def _mask(span: Span, scope: Scope, redactor: Redactor) -> None:
    """Mask the secrets in recorded URLs, in both conventions."""
    query = text(scope["query_string"])
    recorded = getattr(span, "attributes", None) or {}
    if "url.query" in recorded:
        span.set_attribute("url.query", redactor.query(query))
    for key in _MASKED_URLS:
        if "?" in str(recorded.get(key, "")):
            span.set_attribute(key, redactor.url(str(recorded[key])))
