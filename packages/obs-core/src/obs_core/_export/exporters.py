"""Build the exporter that the settings ask for."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from obs_core._safety.redaction import REDACTED

if TYPE_CHECKING:
    import requests
    from opentelemetry.sdk.trace.export import SpanExporter

    from obs_core._config.settings import Settings

_CREDENTIAL_PROVIDERS = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
)


class _MaskHeaders(logging.Filter):
    """Masks the malformed header that OpenTelemetry quotes when reading the environment."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.args = tuple(REDACTED for _ in record.args or ())
        return True


_mask_headers = _MaskHeaders()


class _Headers(tuple[tuple[str, str], ...]):
    """Headers that are true even when empty: for empty headers, the exporter reads the environment."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


def build_exporter(settings: Settings) -> SpanExporter:
    """Return a new exporter; the exporter's own package is imported here and not before."""
    logging.getLogger("opentelemetry.util.re").addFilter(_mask_headers)
    exporter = exporter_type(settings)
    if settings.exporter == "console":
        return exporter(settings.service_name)  # type: ignore[call-arg] # SpanExporter has no arguments
    if settings.endpoint.protocol == "grpc":
        return _build_grpc(exporter, settings)
    return _build_http(exporter, settings)


def exporter_type(settings: Settings) -> type[SpanExporter]:
    """Return the class of the exporter that the settings ask for, with the direct encoder where it has a place for it."""
    if settings.exporter == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter
    if settings.endpoint.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc

        return _direct(settings, grpc.OTLPSpanExporter)
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http

    return _direct(settings, http.OTLPSpanExporter)


def _direct(settings: Settings, exporter: type[SpanExporter]) -> type[SpanExporter]:
    from obs_core._export import direct
    from obs_core._export.encode.encoder import Encoder

    if settings.spans == "sdk" or direct.disagreement() is not None:
        return exporter
    if settings.endpoint.protocol == "grpc":
        return direct.direct_grpc(exporter, Encoder())
    return direct.direct_http(exporter, Encoder())


def _build_grpc(
    exporter: Callable[..., SpanExporter], settings: Settings
) -> SpanExporter:
    endpoint = settings.endpoint
    return exporter(
        endpoint=endpoint.target,
        insecure=endpoint.insecure,
        headers=_Headers(settings.headers.items()),
        timeout=settings.export_timeout_s,
    )


def _build_http(
    exporter: Callable[..., SpanExporter], settings: Settings
) -> SpanExporter:
    return exporter(
        endpoint=settings.endpoint.target,
        headers=dict(settings.headers),
        session=_http_session(settings),
        timeout=settings.export_timeout_s,
    )


def is_direct(exporter: type[SpanExporter]) -> bool:
    """Whether `exporter` has the direct encoder, and takes spans that are encoded already."""
    return hasattr(exporter, "direct_encoder")


def encoder_in_use(settings: Settings, exporter: type[SpanExporter]) -> tuple[str, str]:
    """Return which encoder writes the spans, ``direct`` or ``sdk``, and why."""
    if is_direct(exporter):
        return "direct", "default"
    if not exporter.__module__.startswith("opentelemetry.exporter.otlp"):
        return "sdk", f"{exporter.__qualname__} is given spans"
    if settings.spans == "sdk":
        return "sdk", settings.sources["spans"]
    from obs_core._export import direct

    return "sdk", direct.disagreement() or "where the exporter encodes is not known"


def _http_session(settings: Settings) -> requests.Session | None:
    from obs_core._export.http_session import CollectorSession, check_answer

    name = next(filter(None, map(os.environ.get, _CREDENTIAL_PROVIDERS)), None)
    if name is None:
        return CollectorSession(settings.headers)
    for found in entry_points(
        group="opentelemetry_otlp_credential_provider", name=name
    ):
        session: requests.Session = found.load()()
        # the exporter follows none of its redirects from 1.45 on, and takes them for success
        session.hooks["response"].append(check_answer)
        return session
    return None  # the exporter says what is missing
