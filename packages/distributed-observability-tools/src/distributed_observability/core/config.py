"""The configuration classes of 1.0: tracing and correlation are obs-core's, the rest is for obs-http."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch

from obs_core import CorrelationConfig, TracingConfig
from obs_core.integration import Redactor

__all__ = [
    "CorrelationConfig",
    "FastAPIConfig",
    "HTTPClientConfig",
    "ObservabilityConfig",
    "TracingConfig",
    "match_header_pattern",
]

_SECRETS = ("authorization", "cookie", "x-api-key", "api-key")
_redactor = Redactor()


def match_header_pattern(header_name: str, patterns: Sequence[str]) -> bool:
    """Whether `header_name` matches any of the globs, without regard to case."""
    return any(
        fnmatch(header_name.lower(), pattern.lower()) for pattern in patterns or ()
    )


def _redacts(header_name: str, listed: Sequence[str]) -> bool:
    return match_header_pattern(header_name, listed) or _redactor.is_sensitive(
        header_name
    )


@dataclass(kw_only=True)
class FastAPIConfig:
    """The parts of a request that the middleware captures.

    Attributes:
        enable_middleware: False: requests pass through untouched. Default True.
        log_level: Kept for 1.0's callers; logging is configured as usual.
        record_exceptions: Kept for 1.0's callers; an exception that leaves the handler is always recorded, once.
        capture_request_headers: Request headers to put on the span.
        redact_headers: Headers whose values are masked, beside obs-core's own list, which nothing overrides.
        header_patterns: Globs of more headers to capture.
    """

    enable_middleware: bool = True
    log_level: str = "INFO"
    record_exceptions: bool = True
    capture_request_headers: Sequence[str] = (
        *("x-correlation-id", "x-request-id", "correlation-id", "user-agent"),
        *("x-forwarded-for", "x-real-ip", "x-edge-location", "x-amz-cf-id"),
    )
    redact_headers: Sequence[str] = _SECRETS
    header_patterns: Sequence[str] = ()

    def should_capture_header(self, header_name: str) -> bool:
        """Whether the header goes on the span."""
        return match_header_pattern(
            header_name, [*self.capture_request_headers, *self.header_patterns]
        )

    def should_redact_header(self, header_name: str) -> bool:
        """Whether the header's value is masked."""
        return _redacts(header_name, self.redact_headers)


@dataclass(kw_only=True)
class HTTPClientConfig:
    """The parts of a request that the HTTP client captures.

    Attributes:
        enable_httpx: False: `CorrelatedClient` adds nothing. Default True.
        instrument_requests: Kept for 1.0's callers; use `obs_http.instrument_requests`.
        capture_headers: Request headers to put on the span.
        redact_headers: Headers whose values are masked, beside obs-core's own list, which nothing overrides.
        header_patterns: Globs of more headers to capture.
    """

    enable_httpx: bool = True
    instrument_requests: bool = True
    capture_headers: Sequence[str] = (
        "x-correlation-id",
        "x-request-id",
        "user-agent",
        "content-type",
    )
    redact_headers: Sequence[str] = _SECRETS
    header_patterns: Sequence[str] = ("x-*",)

    def should_capture_header(self, header_name: str) -> bool:
        """Whether the header goes on the span."""
        return match_header_pattern(
            header_name, [*self.capture_headers, *self.header_patterns]
        )

    def should_redact_header(self, header_name: str) -> bool:
        """Whether the header's value is masked."""
        return _redacts(header_name, self.redact_headers)


@dataclass(kw_only=True)
class ObservabilityConfig:
    """The complete configuration.

    Attributes:
        tracing: For `setup_tracing`.
        fastapi: For the middleware.
        http_client: For the HTTP client.
    """

    tracing: TracingConfig
    fastapi: FastAPIConfig = field(default_factory=FastAPIConfig)
    http_client: HTTPClientConfig = field(default_factory=HTTPClientConfig)

    @classmethod
    def from_env(cls) -> ObservabilityConfig:
        """Take the tracing's settings from the environment: see `TracingConfig.from_env`."""
        return cls(tracing=TracingConfig.from_env())
