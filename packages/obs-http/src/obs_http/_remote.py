"""The caller's trace context, by the rules of W3C Trace Context and Baggage, to the letter.

https://www.w3.org/TR/trace-context-2/ and https://www.w3.org/TR/baggage/. OpenTelemetry's propagators take the first of
several ``traceparent`` headers and only the first ``baggage`` header, and keep a ``tracestate`` of any length; so what they
get to see is put right before.
"""

from __future__ import annotations

import re

from opentelemetry import propagate, trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import INVALID_SPAN, Link

from obs_http._headers import CarrierGetter

Carrier = dict[str, list[str]]


class PropagationFields:
    """The names of the headers that the global propagator reads, as ASGI has them; asked again when it is replaced."""

    __slots__ = ("_names", "_propagator")

    def __init__(self) -> None:
        self._propagator: object = None
        self._names: dict[bytes, str] = {}

    def __call__(self) -> dict[bytes, str]:
        propagator = propagate.get_global_textmap()
        if propagator is not self._propagator:
            self._names = {name.lower().encode(): name.lower() for name in propagator.fields}
            self._propagator = propagator
        return self._names


propagation_fields = PropagationFields()

MAX_TRACESTATE_CHARACTERS = 512
MAX_TRACESTATE_MEMBERS = 32
MAX_BAGGAGE_BYTES = 8192
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)
_GETTER = CarrierGetter()


def remote_context(carrier: Carrier, *, trusted: bool) -> tuple[Context, list[Link]]:
    """Return the context to start the server's span in, and the links to give it.

    Args:
        carrier: The headers that the global propagator reads, by lower-case name.
        trusted: Whether to go on with the caller's trace; if not, a new one is started, linked to the caller's, and the
            caller's baggage is left behind.
    """
    if not carrier:
        return get_current(), []
    put_right(carrier)
    context = propagate.extract(carrier, get_current(), _GETTER)
    if trusted:
        return context, []
    caller = trace.get_current_span(context).get_span_context()
    links = [Link(caller)] if caller.is_valid and caller.is_remote else []
    return trace.set_span_in_context(INVALID_SPAN, get_current()), links


def put_right(carrier: Carrier) -> None:
    """Take out of `carrier`, in place, what the specifications say is to be ignored, and join what belongs together."""
    if "traceparent" in carrier and not is_valid_traceparent(carrier["traceparent"]):
        del carrier["traceparent"]
    if "tracestate" in carrier:
        carrier["tracestate"] = bounded_tracestate(carrier["tracestate"])
    if "baggage" in carrier:
        joined = ",".join(carrier["baggage"])
        carrier["baggage"] = [joined] if len(joined) <= MAX_BAGGAGE_BYTES else []


def is_valid_traceparent(values: list[str]) -> bool:
    """Whether there is exactly one ``traceparent``, and it is one; versions after 00 may say more at the end."""
    if len(values) != 1 or len(values[0]) > 512:
        return False
    match = _TRACEPARENT.fullmatch(values[0].strip(" \t"))
    return match is not None and not (match[1] == "00" and match[2])


def bounded_tracestate(values: list[str]) -> list[str]:
    """Join the ``tracestate`` headers and keep what fits into 512 characters, whole members from the left.

    More than 32 members make all of it invalid. Of members with the same key the first stays, which is the latest; the
    propagator would drop them all. Members over 128 characters are the first to go.
    """
    members = [
        member for value in values for part in value.split(",") if (member := part.strip(" \t"))
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
