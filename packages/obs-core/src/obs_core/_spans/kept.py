"""Unsampled requests that are kept: on request of the code, and by the mark by which services tell each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from opentelemetry.trace import Span, SpanContext, TraceState, get_current_span

#: The attribute of every exported span of a kept request: why the request is kept.
KEPT = "obs.kept"
#: The attribute of the local root of a kept request: how many of its spans a bound has cost.
DROPPED_SPANS = "obs.kept.dropped_spans"
#: The header of an HTTP response, and the trailing metadata of an RPC, by which a callee tells its caller.
KEPT_HEADER = "x-obs-kept"
REASONS = frozenset({"error", "slow", "asked"})

_STATE_KEY, _STATE_PREFIX, _MAX_MEMBERS = "obs", "kept:", 32


class Recording(Protocol):
    """The spans of an unsampled request in this process.

    Attributes:
        reason: Why the request is kept; None: not decided, or not kept.
    """

    reason: str | None

    def keep(self, reason: str, *, told: bool = False) -> None:
        """Keep the request, unless decided already or over a bound; `told`: by another service."""

    def hold(self) -> None:
        """Hold the request, although its spans have ended, until `let_go`: something may yet fail."""

    def let_go(self) -> None:
        """Undo one `hold`."""

    def decide(self, span: Span, *, fails: bool) -> None:
        """Keep the request if `span`, still open, is known to fail, or is the local root and slow already."""


class _Keeping:
    """Whether unsampled requests may be kept in this process: an attribute, so that asking costs no call."""

    __slots__ = ("is_on",)

    def __init__(self) -> None:
        self.is_on: bool = False


keeping: _Keeping = _Keeping()


def recording_of(span: object) -> Recording | None:
    """Return the recording of `span`, also behind a wrapper; None: `span` is sampled, or does not record."""
    return getattr(span, "_recording", None)


def keep_trace() -> bool:
    """Export the current request, from its start, also if it is not sampled; return whether it is exported.

    Needs ``TracingConfig(keep=Keep(…))`` for a request that is not sampled. The services called from then on are told, and
    the calling service with the response. Never raises; any thread or task.
    """
    span = get_current_span()
    if (recording := recording_of(span)) is None:
        return span.is_recording() and span.get_span_context().trace_flags.sampled
    recording.keep("asked")
    return recording.reason is not None


def kept_reason(span: Span, *, fails: bool = False) -> str | None:
    """Return why the unsampled request of `span` is kept, as far as is known now; None: it is sampled, or not kept.

    For the answer to the caller, written before the span has ended: see `KEPT_HEADER`.

    Args:
        span: The span of the request, still open.
        fails: Whether the span is going to have the status ERROR.
    """
    if (recording := recording_of(span)) is None:
        return None
    if recording.reason is None:
        recording.decide(span, fails=fails)
    return recording.reason


def hold_request(span: Span) -> Callable[[], None] | None:
    """Hold the undecided request of `span`, also when its spans have ended, until the returned function is called.

    For an integration that knows when a request is over: a background task may yet fail. None: nothing is held.
    """
    if (recording := recording_of(span)) is None:
        return None
    recording.hold()
    return recording.let_go


def note_kept(span: Span, reason: object) -> None:
    """Keep the request of `span`, the client's, whose callee says that it keeps its part; other values are ignored."""
    recording = recording_of(span)
    if recording is not None and isinstance(reason, str) and reason in REASONS:
        recording.keep(reason, told=True)


def told_reason(parent: SpanContext | None) -> str | None:
    """Return why the caller keeps the request, if the caller says so."""
    if parent is None or not parent.trace_state:
        return None
    reason = (parent.trace_state.get(_STATE_KEY) or "").removeprefix(_STATE_PREFIX)
    return reason if reason in REASONS else None


def kept_tracestate(header: str | None, reason: str) -> str:
    """Return the ``tracestate`` header with the mark of a kept request, for a message that repeats its headers."""
    members = [each for each in (header or "").split(",") if each.strip()]
    others = [each for each in members if not each.strip().startswith("obs=")]
    return ",".join(
        (f"{_STATE_KEY}={_STATE_PREFIX}{reason}", *others[: _MAX_MEMBERS - 1])
    )


def marked(own: SpanContext, reason: str) -> SpanContext:
    """Return `own` with the mark of a kept request in the tracestate, for the services that are called."""
    state = own.trace_state
    if told_reason(own) is not None:
        return own
    others = [pair for pair in state.items() if pair[0] != _STATE_KEY]
    pair = (_STATE_KEY, _STATE_PREFIX + reason)
    state = TraceState([pair, *others[: _MAX_MEMBERS - 1]])
    return SpanContext(own.trace_id, own.span_id, False, own.trace_flags, state)
