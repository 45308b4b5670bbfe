"""Correlation ids: a single id for a request and all work it causes, in baggage, on spans, on log records."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import baggage
from opentelemetry.context import Context

from obs_core._config.correlation import CorrelationConfig
from obs_core._config.in_force import correlation_in_force
from obs_core._safety.random_numbers import random_numbers
from obs_core._spans.runtime_context import attach, detach, get_current
from obs_core._spans.tracer import BAGGAGE_KEY

KEY = "correlation_id"
# the bits of a UUID's version and variant (https://www.rfc-editor.org/rfc/rfc9562#section-5.4)
_NO_VERSION, _VERSION_4 = ~(0xF << 76 | 0x3 << 62), 0x4 << 76 | 0x2 << 62
_VALID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
# the id that was found valid last: all spans of a request have the same
_known: str | None = None


def is_valid_correlation_id(value: object) -> bool:
    """Whether `value` is 1 to 128 characters of ``A-Z a-z 0-9 . _ : / + = @ -``, safe in headers and logs."""
    return isinstance(value, str) and _VALID.fullmatch(value) is not None


def get_correlation_id(context: Context | None = None) -> str | None:
    """Return the correlation id of `context` (default: the current context), if any. Never raises; any thread."""
    global _known
    found: Any = (get_current() if context is None else context).get(BAGGAGE_KEY)
    if found is None:
        return None
    # the API's own type first: an abstract class is slow to ask
    if type(found) is not dict and not isinstance(found, Mapping):
        return None
    value = found.get(KEY)
    if value is _known:
        return _known
    if not isinstance(value, str) or not _VALID.fullmatch(value):
        return None
    _known = value
    return value


def with_correlation_id(correlation_id: str, context: Context | None = None) -> Context:
    """Return `context` (default: the current context) with `correlation_id` in baggage."""
    above = get_current() if context is None else context
    entries = above.get(BAGGAGE_KEY) or {}
    known = entries if isinstance(entries, dict) else baggage.get_all(above)
    return Context({**above, BAGGAGE_KEY: {**known, KEY: correlation_id}})


def new_correlation_id() -> str:
    """Return a fresh random id, in the form of a UUID of version 4."""
    number = random_numbers.bits(128) & _NO_VERSION | _VERSION_4
    digits = f"{number:032x}"
    groups = digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]
    return "-".join(groups)


@contextmanager
def correlation_scope(correlation_id: str | None = None) -> Iterator[str]:
    """Run the block under `correlation_id`; yield the id in force.

    Args:
        correlation_id: The id. Default: the current id, or else a new id. An invalid id (see `is_valid_correlation_id`) is
            replaced by a new id.

    For entry points without an integration: a script, a cron job, a custom consumer. Any thread or task.
    """
    current = get_correlation_id() if correlation_id is None else correlation_id
    if current is None or not is_valid_correlation_id(current):
        current = new_correlation_id()
    token = attach(with_correlation_id(current))
    try:
        yield current
    finally:
        detach(token)


def attach_correlation(
    header: Callable[[str], str | None],
    context: Context,
    config: CorrelationConfig | None = None,
) -> Context:
    """Return the incoming request's `context` with a correlation id: from a valid header, else baggage, else new.

    Args:
        header: Returns the value of a request header by (case-insensitive) name, or None.
        context: The context that the propagator extracted.
        config: Default: the settings in force.
    """
    config = config or correlation_in_force()
    for name in config.headers:
        received = header(name)
        if received is not None and is_valid_correlation_id(received):
            return with_correlation_id(received, context)
    chosen = get_correlation_id(context)
    if chosen is None and config.generate_id:
        chosen = new_correlation_id()
    if chosen is None:
        # an invalid id in foreign baggage must not travel on
        return baggage.remove_baggage(KEY, context)
    return with_correlation_id(chosen, context)


def correlation_headers(
    config: CorrelationConfig | None = None, context: Context | None = None
) -> dict[str, str]:
    """Return the header that carries the current correlation id out; empty without an id or propagation."""
    config = config or correlation_in_force()
    current = get_correlation_id(context)
    if current is None or not config.propagation:
        return {}
    return {config.headers[0]: current}


def outgoing_context(
    context: Context, config: CorrelationConfig | None = None
) -> Context:
    """Return `context` without the correlation id in its baggage, if propagation is switched off.

    Every integration injects this context into its outgoing requests and messages.
    """
    config = config or correlation_in_force()
    if config.propagation or baggage.get_baggage(KEY, context) is None:
        return context
    return baggage.remove_baggage(KEY, context)
