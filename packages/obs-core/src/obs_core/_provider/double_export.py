"""Detect that an existing TracerProvider exports to the same collector as a set-up that joins."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from obs_core._config.endpoint import GRPC_PORT, HTTP_PORT
from obs_core._config.settings import Settings


def doubled_export(provider: object, settings: Settings) -> str | None:
    """Return a warning if `provider` exports to the collector of `settings` too, so that each span arrives twice."""
    if settings.exporter != "otlp":
        return None
    ours = _address(settings.endpoint.target)
    theirs = next(
        (
            endpoint
            for endpoint in _endpoints(provider)
            if _is_same(_address(endpoint), ours)
        ),
        None,
    )
    if theirs is None:
        return None
    host, port = _address(theirs)
    return (
        f"each span is exported twice: the TracerProvider that was there before setup_tracing exports to {host}:{port} too; "
        "start the service without opentelemetry-instrument, or leave the export to it: on_existing_provider='skip'"
    )


def _endpoints(provider: object) -> Iterator[str]:
    """Where the SDK's span processors of `provider` export to; nothing public tells."""
    joined = getattr(provider, "_active_span_processor", None)
    for processor in getattr(joined, "_span_processors", ()):
        endpoint = _endpoint(processor)
        if isinstance(endpoint, str):
            yield endpoint


def _endpoint(processor: object) -> object:
    try:
        batching = getattr(processor, "_batch_processor", None)  # since 1.33
        exporter = getattr(processor, "span_exporter", None) or getattr(
            batching, "_exporter", None
        )
        return getattr(exporter, "_endpoint", None)
    except Exception:  # noqa: BLE001 - a proxy may raise anything, and is no exporter of the SDK
        return None


def _address(endpoint: str) -> tuple[str, int | None]:
    if "://" not in endpoint:
        endpoint = f"//{endpoint}"
    parts = urlsplit(endpoint)
    host, port = parts.hostname or "", parts.port
    if host == "localhost":
        host = "127.0.0.1"
    if not port and parts.scheme == "https":
        port = 443
    return host, port


def _is_same(one: tuple[str, int | None], other: tuple[str, int | None]) -> bool:
    """Whether both are the same collector, which listens on a port for each protocol."""
    return one == other or (
        one[0] == other[0] and {one[1], other[1]} == {GRPC_PORT, HTTP_PORT}
    )
