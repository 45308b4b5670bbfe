"""Who an RPC is for, as the caller's baggage says; obs-http writes it there under ``identity_in_baggage``."""

from __future__ import annotations

import re

from opentelemetry import baggage
from opentelemetry.context import Context

_KEYS = ("user.id", "user.hash", "tenant.id")
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,256}")


def identity_of(context: Context) -> dict[str, str]:
    """Return what the baggage of `context` says of user and tenant; what could forge a log line is left out."""
    said = ((key, baggage.get_baggage(key, context)) for key in _KEYS)
    return {
        key: value for key, value in said if isinstance(value, str) and _PRINTABLE.fullmatch(value)
    }
