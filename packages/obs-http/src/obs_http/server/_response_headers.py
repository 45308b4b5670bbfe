"""The headers that are added to responses."""

from __future__ import annotations

import re

from obs_core import CorrelationConfig
from obs_core.integration import KEPT_HEADER, kept_reason
from opentelemetry.trace import Span

from obs_http.server._types import Message


class ResponseHeaders:
    """Adds headers to responses.

    Args:
        correlation: The name of the header for the correlation id.
        service_name: For ``X-Service-Name``; empty: no header.
        usual: Whether to add the correlation id, the service name and the processing time.
        traceresponse: Whether to add the W3C header.
    """

    __slots__ = ("_correlation_header", "_service_name", "_traceresponse", "_usual")

    def __init__(
        self,
        correlation: CorrelationConfig,
        service_name: str,
        *,
        usual: bool,
        traceresponse: bool,
    ) -> None:
        self._correlation_header = b""
        if correlation.propagation:
            self._correlation_header = correlation.headers[0].lower().encode()
        # servers refuse a whole response for a line break in a header's value
        self._service_name = re.sub(r"[^\x20-\x7e]", "?", service_name).encode()
        self._usual = usual
        self._traceresponse = traceresponse

    def add_to(
        self, message: Message, correlation_id: str | None, span: Span, elapsed_s: float
    ) -> None:
        """Add the headers to a response's first message; headers set by the application stay."""
        added = self._headers(correlation_id, span, elapsed_s)
        if not added:
            return
        present = [*message.get("headers", ())]
        names = {name.lower() for name, _ in present}
        message["headers"] = present + [pair for pair in added if pair[0] not in names]

    def _headers(
        self, correlation_id: str | None, span: Span, elapsed_s: float
    ) -> list[tuple[bytes, bytes]]:
        headers = []
        if self._usual:
            if correlation_id is not None and self._correlation_header:
                headers.append((self._correlation_header, correlation_id.encode()))
            if self._service_name:
                headers.append((b"x-service-name", self._service_name))
            headers.append((b"x-processing-time", b"%.6f" % elapsed_s))
        if self._traceresponse and (context := span.get_span_context()).is_valid:
            ids = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
            headers.append((b"traceresponse", ids.encode()))
        return headers


def tell_kept(message: Message, span: Span, *, fails: bool) -> None:
    """Tell the caller, in a response's first message, that its unsampled request is kept here, if the trace is the caller's."""
    parent = getattr(span, "parent", None)
    if parent is None or not parent.is_remote:
        return
    if (reason := kept_reason(span, fails=fails)) is not None:
        told = (KEPT_HEADER.encode(), reason.encode())
        message["headers"] = [*message.get("headers", ()), told]
