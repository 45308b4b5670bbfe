"""Attributes of distributed-observability-tools 1.0, for dashboards that query them."""

from __future__ import annotations

from opentelemetry.util.types import AttributeValue


def legacy_attributes(correlation_id: str) -> dict[str, AttributeValue]:
    """Return the attributes of the correlation id in distributed-observability-tools 1.0.0."""
    return {
        "correlation.id": correlation_id,
        "x-correlation-id": correlation_id,
        "http.request.header.x-correlation-id": [correlation_id],
    }
