"""Build the exporter that the settings ask for."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from inspect import signature
from typing import TYPE_CHECKING, Any

from obs_core._export.signals import METRICS, TRACES, Exporter, Signal, is_otlp
from obs_core._safety.redaction import REDACTED

if TYPE_CHECKING:
    import requests

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


def build_exporter(settings: Settings, signal: Signal = TRACES) -> Exporter:
    """Return a new exporter; the exporter's own package is imported here and not before."""
    logging.getLogger("opentelemetry.util.re").addFilter(_mask_headers)
    exporter: Callable[..., Exporter] = exporter_type(settings, signal)
    if _is_console(settings, signal):
        return exporter(settings.service_name)
    endpoint, headers = (
        settings.endpoint_of(signal.name),
        settings.headers_of(signal.name),
    )
    if endpoint.protocol == "grpc":
        return exporter(
            endpoint=endpoint.target,
            insecure=endpoint.insecure,
            headers=_Headers(headers.items()),
            timeout=settings.export_timeout_s,
            **_own_connection(exporter),
        )
    return exporter(
        endpoint=endpoint.target,
        headers=dict(headers),
        session=_http_session(headers),
        timeout=settings.export_timeout_s,
    )


def _own_connection(exporter: Callable[..., Exporter]) -> dict[str, Any]:
    """Return the options for a connection of this exporter alone, where OpenTelemetry (from 1.35) takes any.

    Otherwise gRPC lets all channels of the process share the pause before it connects anew: a signal, and a child forked in an
    outage, would wait for the pause that another signal, or the parent, has grown to up to two minutes.
    """
    if "channel_options" not in signature(exporter).parameters:
        return {}
    return {"channel_options": (("grpc.use_local_subchannel_pool", 1),)}


def exporter_type(settings: Settings, signal: Signal = TRACES) -> type[Exporter]:
    """Return the class of the exporter that the settings ask for, with the direct encoder where it has a place for it."""
    if _is_console(settings, signal):
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter
    protocol = settings.endpoint_of(signal.name).protocol
    exporter = signal.exporter_type(protocol)
    if _is_for_the_sdk(settings, signal):
        return _sparing_forks(exporter, protocol, signal)
    from obs_core._export import direct
    from obs_core._export.encode.encoder import Encoder

    given_bytes = direct.direct_grpc if protocol == "grpc" else direct.direct_http
    return given_bytes(exporter, Encoder(), signal)


def _sparing_forks(
    exporter: type[Exporter], protocol: str, signal: Signal
) -> type[Exporter]:
    if protocol != "grpc":
        return exporter
    from obs_core._export.grpc_at_fork import with_channel

    return with_channel(exporter, signal)


def _is_console(settings: Settings, signal: Signal) -> bool:
    return signal is TRACES and settings.exporter == "console"


def _is_for_the_sdk(settings: Settings, signal: Signal) -> bool:
    """Whether the SDK encodes; log records are encoded where they are made, in any case."""
    if signal is not TRACES:
        return signal is METRICS
    from obs_core._export import direct

    return settings.spans == "sdk" or direct.disagreement() is not None


def is_direct(exporter: type[Exporter]) -> bool:
    """Whether `exporter` has the direct encoder, and takes what is encoded already."""
    return hasattr(exporter, "direct_encoder")


def encoder_in_use(settings: Settings, exporter: type[Exporter]) -> tuple[str, str]:
    """Return which encoder writes the spans, ``direct`` or ``sdk``, and why."""
    if is_direct(exporter):
        return "direct", "default"
    if not is_otlp(exporter):
        return "sdk", f"{exporter.__qualname__} is given spans"
    if settings.spans == "sdk":
        return "sdk", settings.sources["spans"]
    from obs_core._export import direct

    return "sdk", direct.disagreement() or "where the exporter encodes is not known"


def _http_session(headers: Mapping[str, str]) -> requests.Session | None:
    from obs_core._export.http_session import CollectorSession, check_answer

    name = next(filter(None, map(os.environ.get, _CREDENTIAL_PROVIDERS)), None)
    if name is None:
        return CollectorSession(headers)
    for found in entry_points(
        group="opentelemetry_otlp_credential_provider", name=name
    ):
        session: requests.Session = found.load()()
        # the exporter follows none of its redirects from 1.45 on, and takes them for success
        session.hooks["response"].append(check_answer)
        return session
    return None  # the exporter says what is missing
