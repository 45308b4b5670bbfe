"""The caller's trace context, by the rules of W3C Trace Context and Baggage.

https://www.w3.org/TR/trace-context-2/ and https://www.w3.org/TR/baggage/. OpenTelemetry's propagators take the
first of several ``traceparent`` headers and only the first ``baggage`` header, and keep a ``tracestate`` of
any length; headers are therefore normalised first.
"""

from __future__ import annotations

import re

from obs_core.integration import context_with, extract, get_current
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link

from obs_http._headers import CarrierGetter

Carrier = dict[str, list[str]]


class PropagationFields:
    """The header names of the global propagator, in ASGI form; read again after a change of propagator."""

    __slots__ = ("_names", "_propagator")

    def __init__(self) -> None:
        self._propagator: object = None
        self._names: dict[bytes, str] = {}

    def __call__(self) -> dict[bytes, str]:
        propagator = propagate.get_global_textmap()
        if propagator is not self._propagator:
            self._names = {
                name.lower().encode(): name.lower() for name in propagator.fields
            }
            self._propagator = propagator
        return self._names


propagation_fields = PropagationFields()

MAX_TRACESTATE_CHARACTERS = 512
MAX_TRACESTATE_MEMBERS = 32
MAX_BAGGAGE_BYTES = 8192
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)
CARRIER = CarrierGetter()
_ODD = frozenset("13579bdf")


def remote_context(carrier: Carrier, *, trusted: bool) -> tuple[Context, list[Link]]:
    """Return the parent context and the links of the server's span.

    Args:
        carrier: The headers that the global propagator reads, by lower-case name.
        trusted: Whether to continue the caller's trace; if not, start a new trace, linked to the caller's, and
            drop the caller's baggage.
    """
    if not carrier:
        return get_current(), []
    put_right(carrier)
    context = extract(carrier, get_current(), CARRIER)
    if trusted:
        return context, []
    caller = trace.get_current_span(context).get_span_context()
    links = [Link(caller)] if caller.is_valid and caller.is_remote else []
    return context_with(INVALID_SPAN), links


def is_sampled(carrier: Carrier) -> bool:
    """Whether the last digit of ``traceparent`` says so; for deciding what to look at, not for sampling."""
    return carrier.get("traceparent", [""])[0].rstrip(" \t")[-1:] in _ODD


def put_right(carrier: Carrier) -> None:
    """Normalise `carrier` in place: drop headers that the specifications ignore, and join repeated headers."""
    if "traceparent" in carrier and not is_valid_traceparent(carrier["traceparent"]):
        del carrier["traceparent"]
    if "tracestate" in carrier:
        carrier["tracestate"] = bounded_tracestate(carrier["tracestate"])
    if "baggage" in carrier:
        joined = ",".join(carrier["baggage"])
        carrier["baggage"] = [joined] if len(joined) <= MAX_BAGGAGE_BYTES else []


def is_valid_traceparent(values: list[str]) -> bool:
    """Whether `values` is a single valid ``traceparent``; versions after 00 may have more fields."""
    if len(values) != 1 or len(values[0]) > 512:
        return False
    match = _TRACEPARENT.fullmatch(values[0].strip(" \t"))
    return match is not None and not (match[1] == "00" and match[2])


def bounded_tracestate(values: list[str]) -> list[str]:
    """Join the ``tracestate`` headers and keep whole members, from the left, up to 512 characters.

    More than 32 members invalidate the whole header. Of members with the same key the first, the latest, stays;
    the propagator would drop all. Members over 128 characters are dropped first.
    """
    members = [
        member
        for value in values
        for part in value.split(",")
        if (member := part.strip(" \t"))
    ]
    if len(members) > MAX_TRACESTATE_MEMBERS:
        return []
    latest: dict[str, str] = {}
    for member in members:
        latest.setdefault(member.partition("=")[0], member)
    members = list(latest.values())
    if _length(members) > MAX_TRACESTATE_CHARACTERS:
        members = [member for member in members if len(member) <= 128]
    while _length(members) > MAX_TRACESTATE_CHARACTERS:
        members.pop()
    return [",".join(members)] if members else []


def _length(members: list[str]) -> int:
    return sum(map(len, members)) + len(members) - 1
