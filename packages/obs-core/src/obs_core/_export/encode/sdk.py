"""The SDK's encoder, for whatever is rare: values of odd types, resources and scopes, spans that cannot be encoded here."""

from __future__ import annotations

from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT

from obs_core._export.encode.wire import FIELD, delimited, optional
from obs_core._export.outage import quiet_exporter_logs
from obs_core._export.utf8 import encodable
from obs_core._safety.containment import warn_once


def _message(span: ReadableSpan) -> ResourceSpans:
    found: ResourceSpans = encode_spans([encodable(span)]).resource_spans[0]
    return found


def span_by_sdk(span: ReadableSpan) -> bytes:
    """Return the Span message of `span`.

    Raises:
        Exception: The SDK cannot encode the span either.
    """
    found: bytes = _message(span).scope_spans[0].spans[0].SerializeToString()
    return found


def attribute_by_sdk(key: str, value: Any, tag: bytes) -> bytes:
    """Return the field of an attribute; nothing, with a warning, for one that the SDK's encoder leaves out."""
    reasons: list[str] = []
    with quiet_exporter_logs(reasons.append):
        span = ReadableSpan("", INVALID_SPAN_CONTEXT, attributes={key: value})
        found = _message(span).scope_spans[0].spans[0].attributes
    for reason in reasons:
        kind = type(value).__qualname__
        warn_once(f"encode {kind}", f"an attribute ({kind}) is not exported: {reason}")
    return b"".join(delimited(tag, each.SerializeToString()) for each in found)


def resource_and_scope(
    resource: Resource, scope: InstrumentationScope | None
) -> tuple[bytes, bytes, bytes, bytes]:
    """Return what a ResourceSpans message has before and after its spans, and a ScopeSpans message in it likewise."""
    of_resource = _message(
        ReadableSpan(
            "", INVALID_SPAN_CONTEXT, resource=resource, instrumentation_scope=scope
        )
    )
    of_scope = of_resource.scope_spans[0]
    return (
        delimited(FIELD[1], of_resource.resource.SerializeToString()),
        optional(FIELD[3], of_resource.schema_url),
        delimited(FIELD[1], of_scope.scope.SerializeToString()),
        optional(FIELD[3], of_scope.schema_url),
    )
