"""Build the exporter that the settings ask for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from obs_core._config.settings import Settings


def build_exporter(settings: Settings) -> SpanExporter:
    """Return a new exporter; the exporter's own package is imported here and not before."""
    if settings.exporter == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(settings.service_name)
    return _build_grpc(settings) if settings.endpoint.protocol == "grpc" else _build_http(settings)


def _build_grpc(settings: Settings) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    endpoint = settings.endpoint
    return OTLPSpanExporter(
        endpoint=endpoint.target,
        insecure=endpoint.insecure,
        headers=tuple(settings.headers.items()) or None,
        timeout=settings.export_timeout_s,  # type: ignore[arg-type,unused-ignore] # typed int before 1.30, used as float
    )


def _build_http(settings: Settings) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(
        endpoint=settings.endpoint.target,
        headers=dict(settings.headers) or None,
        timeout=settings.export_timeout_s,  # type: ignore[arg-type,unused-ignore] # typed int before 1.30, used as float
    )


def fork_hazard(settings: Settings) -> str | None:
    """Say why children of this process cannot export, or None when they can."""
    if settings.exporter != "otlp" or settings.endpoint.protocol != "grpc":
        return None
    value = os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "1")
    if value.lower() in ("1", "true", "yes", "on", "t", "y"):
        return None
    return (
        f"GRPC_ENABLE_FORK_SUPPORT={value} leaves forked children unable to use gRPC, so they cannot export: "
        "unset it, or use collector_protocol='http'"
    )
