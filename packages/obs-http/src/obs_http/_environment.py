"""The standard variables of OpenTelemetry's HTTP instrumentations, for what the code does not say.

Their patterns are regular expressions between commas: of header names, matched whole and without regard to case; of URLs,
found anywhere in them. https://opentelemetry-python-contrib.readthedocs.io/en/latest/instrumentation/asgi/asgi.html
"""

from __future__ import annotations

import os
import re

from obs_core.exceptions import ConfigurationError

_HEADERS = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"
_EXCLUDED = "EXCLUDED_URLS"


def captured_headers(which: str) -> re.Pattern[str] | None:
    """Return the pattern of ``…_CAPTURE_HEADERS_<which>`` (``SERVER_REQUEST``, …), to be matched whole; or None."""
    return _pattern(_HEADERS + which, re.IGNORECASE)


def sanitized_fields() -> re.Pattern[str] | None:
    """Return the pattern of the header names whose values are masked, to be searched for; or None."""
    return _pattern(_HEADERS + "SANITIZE_FIELDS", re.IGNORECASE)


def excluded_urls(*libraries: str) -> re.Pattern[str] | None:
    """Return the pattern of the URLs not to be traced, to be searched for; or None.

    Args:
        libraries: ``FASTAPI`` for ``OTEL_PYTHON_FASTAPI_EXCLUDED_URLS``; the first that is set counts, and where none is,
            ``OTEL_PYTHON_EXCLUDED_URLS``.
    """
    names = [f"OTEL_PYTHON_{library}_{_EXCLUDED}" for library in libraries]
    names.append(f"OTEL_PYTHON_{_EXCLUDED}")
    return next((_pattern(name) for name in names if name in os.environ), None)


def _pattern(variable: str, flags: int = 0) -> re.Pattern[str] | None:
    """Return the variable's expressions as one.

    Raises:
        ConfigurationError: One of them is no regular expression.
    """
    given = [part.strip() for part in os.environ.get(variable, "").split(",")]
    expressions = [part for part in given if part]
    for expression in expressions:
        try:
            re.compile(expression)
        except re.error as error:
            raise ConfigurationError(
                f"{variable}: {expression!r} is not a regular expression ({error}): mend or unset it"
            ) from None
    return re.compile("|".join(expressions), flags) if expressions else None
