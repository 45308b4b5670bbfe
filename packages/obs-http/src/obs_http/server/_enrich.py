"""Attributes in addition to the standard set, and masking of spans that other code has opened."""

from __future__ import annotations

from obs_core.integration import Redactor
from opentelemetry.trace import Span

from obs_http.server._options import ServerOptions
from obs_http.server._types import Scope

_MASKED_URLS = ("url.full", "http.url", "http.target")


def enrich(
    span: Span, scope: Scope, options: ServerOptions, correlation_id: str | None, *, owned: bool
) -> None:
    """Record captured headers and the correlation id on `span`; mask the secrets of a span that is not `owned`."""
    if options.request_capture:
        span.set_attributes(options.request_capture.attributes(scope.get("headers", ())))
    if not owned:
        _mask(span, scope, options.redactor())
    if correlation_id is None:
        return
    if not owned:
        # the span was opened before the id was known, so obs-core's processor could not set it
        span.set_attribute("correlation_id", correlation_id)
    if options.legacy_attributes:
        span.set_attributes(options.legacy(correlation_id))


def _mask(span: Span, scope: Scope, redactor: Redactor) -> None:
    """Mask the secrets in recorded URLs, in both conventions."""
    query = scope.get("query_string", b"").decode("latin-1")
    if not query:
        return
    recorded = getattr(span, "attributes", None) or {}
    if "url.query" in recorded:
        span.set_attribute("url.query", redactor.query(query))
    for key in _MASKED_URLS:
        if "?" in str(recorded.get(key, "")):
            span.set_attribute(key, redactor.url(str(recorded[key])))
