"""The attributes of a request of an HTTP client, in the stable conventions.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from obs_core.integration import redactor
from opentelemetry.util.types import AttributeValue

from obs_http._attributes import DEFAULT_PORTS, KNOWN_METHODS, bounded_method

_USERINFO = re.compile(r"//[^/\s@'\"]+@")
_PARAMETER = re.compile(r"([?&])([^=&#\s'\"]+=[^&#\s'\")]*)")


class Target(NamedTuple):
    """The destination of a request."""

    method: str
    url: str
    host: str
    port: int | None


class Answer(NamedTuple):
    """The first line of a response; `resends`: the number of attempts made below the client."""

    status: int
    version: str | None
    resends: int = 0


def metric_attributes(target: Target) -> dict[str, AttributeValue]:
    """Return the attributes of the measurement, known at the start: of low cardinality."""
    method, url, host, port = target
    attributes: dict[str, AttributeValue] = {
        "http.request.method": bounded_method(method),
        "server.address": host,
    }
    port = port or DEFAULT_PORTS.get(url.partition(":")[0])
    if port is not None:
        attributes["server.port"] = port
    return attributes


def span_attributes(
    target: Target, redact: tuple[str, ...], resends: int
) -> dict[str, AttributeValue]:
    """Return the start attributes of the span of the request that follows `resends` requests of the same call."""
    attributes = metric_attributes(target)
    attributes["url.full"] = _masked(target.url, redact)
    if target.method not in KNOWN_METHODS:
        attributes["http.request.method_original"] = target.method
    if resends:
        attributes["http.request.resend_count"] = resends
    return attributes


def _masked(url: str, redact: tuple[str, ...]) -> str:
    if "@" in url or "?" in url:
        return redactor(redact).url(url)
    return url


def scrubber(redact: tuple[str, ...]) -> Callable[[str], str]:
    """Return a function that masks the credentials in every URL that an error message or a stack trace quotes."""

    def parameter(match: re.Match[str]) -> str:
        return match[1] + redactor(redact).query(match[2])

    def scrub(text: str) -> str:
        return _PARAMETER.sub(parameter, _USERINFO.sub("//REDACTED:REDACTED@", text))

    return scrub
