"""The standard variables of OpenTelemetry's HTTP instrumentations: defaults of options not set in code.

Patterns are regular expressions separated by commas. Patterns of header names match the whole name, without
regard to case; patterns of URLs are searched for.
https://opentelemetry-python-contrib.readthedocs.io/en/latest/instrumentation/asgi/asgi.html
"""

from __future__ import annotations

import os
import re

from obs_core.exceptions import ConfigurationError

_HEADERS = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"
_EXCLUDED = "EXCLUDED_URLS"


def captured_headers(which: str) -> re.Pattern[str] | None:
    """Return the pattern of ``…_CAPTURE_HEADERS_<which>`` (``SERVER_REQUEST``, …), for a full match; or None."""
    return _pattern(_HEADERS + which, re.IGNORECASE)


def sanitized_fields() -> re.Pattern[str] | None:
    """Return the pattern of header names whose values are masked, for a search; or None."""
    return _pattern(_HEADERS + "SANITIZE_FIELDS", re.IGNORECASE)


def excluded_urls(*libraries: str) -> re.Pattern[str] | None:
    """Return the pattern of URLs that are not traced, for a search; or None.

    Args:
        libraries: ``FASTAPI`` for ``OTEL_PYTHON_FASTAPI_EXCLUDED_URLS``; the first variable that is set counts,
            and without any, ``OTEL_PYTHON_EXCLUDED_URLS``.
    """
    names = [f"OTEL_PYTHON_{library}_{_EXCLUDED}" for library in libraries]
    names.append(f"OTEL_PYTHON_{_EXCLUDED}")
    return next((_pattern(name) for name in names if name in os.environ), None)


def _pattern(variable: str, flags: int = 0) -> re.Pattern[str] | None:
    """Return the variable's expressions as a single pattern.

    Raises:
        ConfigurationError: A part is no regular expression.
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
    if not expressions:
        return None
    return re.compile("|".join(expressions), flags)
