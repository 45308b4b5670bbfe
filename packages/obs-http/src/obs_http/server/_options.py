"""The middleware's options, checked once at set-up and prepared for each request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from obs_core import CorrelationConfig
from obs_core.exceptions import ConfigurationError
from obs_core.integration import Redactor, current_manager, redactor
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from obs_http._headers import HeaderCapture, RawHeaders
from obs_http._semconv import SERVER, older_names
from obs_http.server._exclusion import Exclusion
from obs_http.server._identity import Identify, IdentityReader
from obs_http.server._types import Message


class ServerOptions:
    """The options of `RequestTracingMiddleware`."""

    __slots__ = (
        "_redact", "_response_capture", "_service_name", "_traceresponse", "_writes_headers", "correlation", "excluded",
        "identity", "identity_in_baggage", "legacy_attributes", "older_names", "request_capture",
        "trust_remote_context",
    )  # fmt: skip

    def __init__(
        self,
        *,
        service_name: str | None,
        correlation: CorrelationConfig | None,
        redact: Sequence[str],
        capture_request_headers: Sequence[str] | None,
        capture_response_headers: Sequence[str] | None,
        exclude: Sequence[str] | None,
        identify: Identify | Literal["aws_alb"] | None,
        identity_hash_key: str | None,
        identity_in_baggage: bool,
        identity_from_baggage: bool,
        trust_remote_context: bool,
        response_headers: bool,
        traceresponse: bool,
        legacy_attributes: bool,
    ) -> None:
        if correlation is not None and not isinstance(correlation, CorrelationConfig):
            raise ConfigurationError(f"correlation={correlation!r} is not a CorrelationConfig")
        set_up_correlation, set_up_name = _set_up()
        self._redact = tuple(redact)
        self.correlation = correlation or set_up_correlation
        self.excluded = Exclusion(exclude)
        self.request_capture = HeaderCapture(
            "server", "request", capture_request_headers, self._redact
        )
        self._response_capture = HeaderCapture(
            "server", "response", capture_response_headers, self._redact
        )
        if identity_from_baggage and not trust_remote_context:
            raise ConfigurationError(
                "identity_from_baggage=True contradicts trust_remote_context=False: leave one of them out"
            )
        self.identity = None
        if identify is not None or identity_from_baggage:
            self.identity = IdentityReader(
                identify, identity_hash_key, from_baggage=identity_from_baggage
            )
        self.identity_in_baggage = identity_in_baggage
        self.trust_remote_context = trust_remote_context
        self.legacy_attributes = legacy_attributes
        self.older_names = older_names(SERVER)
        name = service_name or set_up_name or ""
        # servers refuse a whole response for a line break in a header's value
        self._service_name = re.sub(r"[^\x20-\x7e]", "?", name).encode()
        self._writes_headers = response_headers
        self._traceresponse = traceresponse

    def redactor(self) -> Redactor:
        """Return the redactor of these options and the set-up in force."""
        return redactor(self._redact)

    def captured_response(self, headers: RawHeaders) -> dict[str, list[str]]:
        """Return the attributes of captured response headers."""
        if not self._response_capture:
            return {}
        return self._response_capture.attributes(headers)

    def add_headers(
        self, message: Message, correlation_id: str | None, span: Span, elapsed_s: float
    ) -> None:
        """Add our headers to a response's first message; headers set by the application stay."""
        added = self._response_headers(correlation_id, span, elapsed_s)
        if not added:
            return
        present = [*message.get("headers", ())]
        names = {name.lower() for name, _ in present}
        message["headers"] = present + [pair for pair in added if pair[0] not in names]

    def _response_headers(
        self, correlation_id: str | None, span: Span, elapsed_s: float
    ) -> list[tuple[bytes, bytes]]:
        headers = []
        if self._writes_headers:
            if correlation_id is not None and self.correlation.propagation:
                headers.append(
                    (self.correlation.headers[0].lower().encode(), correlation_id.encode())
                )
            if self._service_name:
                headers.append((b"x-service-name", self._service_name))
            headers.append((b"x-processing-time", b"%.6f" % elapsed_s))
        context = span.get_span_context()
        if self._traceresponse and context.is_valid:
            ids = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
            headers.append((b"traceresponse", ids.encode()))
        return headers

    def legacy(self, correlation_id: str) -> dict[str, AttributeValue]:
        """Return the attributes of the correlation id in distributed-observability-tools 1.0.0."""
        header = "http.request.header.x-correlation-id"
        return {
            "correlation.id": correlation_id,
            "x-correlation-id": correlation_id,
            header: [correlation_id],
        }


def _set_up() -> tuple[CorrelationConfig, str | None]:
    """Return the correlation settings and the service name of the set-up in force."""
    manager = current_manager()
    if manager is None:
        return CorrelationConfig(), None
    return manager.settings.correlation, manager.settings.service_name
