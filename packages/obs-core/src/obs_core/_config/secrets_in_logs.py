"""Mask the secrets of the settings in texts of foreign libraries: failure reasons, tracebacks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

from obs_core._config.settings import Settings
from obs_core._safety.redaction import REDACTED, Redactor

_HEADER_VARIABLES = (
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_HEADERS",
)
#: Shorter words may be part of any text.
_MIN_LENGTH = 4


def secret_mask(settings: Settings) -> Callable[[str], str]:
    """Return a function that masks, in any text, header values and the collector URL's credentials.

    The environment's header variables count as well, in any form: libraries quote malformed values.
    """
    found = {*settings.headers.values(), *_of_url(settings), *_of_environment()}
    secrets = {
        form for secret in found for form in _forms(secret) if len(form) >= _MIN_LENGTH
    }
    if not secrets:
        return str
    # the longest first, so that none is left of which a shorter one is a part
    ordered = sorted(secrets, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, ordered)))
    return lambda text: pattern.sub(REDACTED, text)


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield repr(secret)[1:-1]
    yield from secret.split()[1:]


def _of_url(settings: Settings) -> Iterator[str]:
    redactor = Redactor(settings.redact)
    parts = urlsplit(settings.collector_url)
    yield unquote(parts.password or "")
    yield parts.password or ""
    for name, value in parse_qsl(parts.query):
        if redactor.is_sensitive(name):
            yield value


def _of_environment() -> Iterator[str]:
    for variable in _HEADER_VARIABLES:
        for item in re.split("[,;]", os.environ.get(variable, "")):
            _, *values = re.split("[=:]", item, maxsplit=1)
            for value in values or [item]:
                yield value.strip()
                yield unquote(value).strip()
