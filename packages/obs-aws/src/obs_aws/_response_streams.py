"""The event streams in AWS's responses: the span of a call ends with the stream, even if read in several loops.

The stream stays botocore's object: only the class is replaced, by a subclass of the same name that records events.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from weakref import finalize

from obs_core.integration import call_contained
from opentelemetry.trace import Span

ReadEvent = Callable[[Span, Mapping[str, Any]], None]
RecordFailure = Callable[[Span, BaseException], object]


def event_stream(result: Mapping[str, Any]) -> Any:
    """Return the event stream in a response, or None; a file-like body is no event stream."""
    from botocore.eventstream import EventStream

    return next(
        (value for value in result.values() if isinstance(value, EventStream)), None
    )


def follow(stream: Any, reading: Reading) -> None:
    """Record the events of `stream` with `reading`, and end the span with the stream.

    Raises:
        TypeError: The stream's class cannot be extended.
    """
    kind: Any = type(stream)
    stream.__class__ = _followed(kind)
    stream._obs_aws_reading = reading
    stream._obs_aws_end = finalize(stream, reading.end)


class Reading:
    """The recording of a stream.

    Args:
        span: The open span of the call.
        read_event: Records an event on the span.
        record_failure: Records an error of the stream on the span.
    """

    __slots__ = ("_read_event", "_record_failure", "_span")

    def __init__(
        self, span: Span, read_event: ReadEvent, record_failure: RecordFailure
    ) -> None:
        self._span = span
        self._read_event = read_event
        self._record_failure = record_failure

    def read(self, event: Mapping[str, Any]) -> None:
        """Record `event`; without effect after the end."""
        if self._span.is_recording():
            call_contained("AWS stream", self._read_event, self._span, event)

    def fail(self, error: BaseException) -> None:
        """Record `error`; a cancelled or interrupted reader is no error of the stream."""
        if isinstance(error, Exception) and self._span.is_recording():
            call_contained("AWS stream", self._record_failure, self._span, error)

    def end(self) -> None:
        """End the span."""
        call_contained("ending an AWS span", self._span.end)


class _Followed:
    """The common part of sync and async streams."""

    _obs_aws_reading: Reading
    _obs_aws_end: Callable[[], None]

    def _obs_aws_failed(self, error: BaseException) -> None:
        self._obs_aws_reading.fail(error)
        self._obs_aws_end()

    def close(self) -> Any:
        """Close the stream; a coroutine where the stream's own is."""
        self._obs_aws_end()
        return super().close()  # type: ignore[misc]


class _FollowedStream(_Followed):
    def __iter__(self) -> Iterator[Any]:
        events = super().__iter__()  # type: ignore[misc]
        while True:
            try:
                event = next(events)
            except StopIteration:
                self._obs_aws_end()
                return
            except BaseException as error:
                self._obs_aws_failed(error)
                raise
            self._obs_aws_reading.read(event)
            yield event


class _FollowedAioStream(_Followed):
    async def __aiter__(self) -> AsyncIterator[Any]:
        events = super().__aiter__()  # type: ignore[misc]
        while True:
            try:
                event = await anext(events)
            except StopAsyncIteration:
                self._obs_aws_end()
                return
            except BaseException as error:
                self._obs_aws_failed(error)
                raise
            self._obs_aws_reading.read(event)
            yield event


@lru_cache(maxsize=16)
def _followed(kind: Any) -> Any:
    base = _FollowedAioStream if hasattr(kind, "__aiter__") else _FollowedStream
    names = {
        name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")
    }
    return type(kind.__name__, (base, kind), names)
