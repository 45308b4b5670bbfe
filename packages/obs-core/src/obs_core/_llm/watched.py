"""Methods of watched responses: report each item to the spans of the calls, and end these spans.

`streams` copies the methods of these classes into a subclass of the response's class. The subclass has that class as its
only base, since an object can only then change its class to the subclass.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from weakref import finalize

from obs_core._decorators.generator_span import GeneratorSpan
from obs_core._llm.fields import is_raw_response
from obs_core._safety.containment import call_contained


def is_watched(answer: object) -> bool:
    """Whether `answer` is a watched response."""
    return "_obs_spans" in getattr(answer, "__dict__", ())


def _own(watched: Any) -> Any:
    """Return the methods of the SDK's class, bound to `watched`."""
    return super(type(watched), watched)


class Watched:
    """The methods of every watched response.

    Attributes:
        _obs_watch: `streams.watched`, for a stream that the response opens.
        _obs_spans: The spans of the calls that returned the response, the innermost first.
        _obs_finalizers: End these spans when the response is garbage-collected.
        _obs_busy: Whether an item is being read.
    """

    _obs_watch: Callable[[Any, GeneratorSpan], Any]
    _obs_spans: list[GeneratorSpan]
    _obs_finalizers: list[finalize[..., Any]]
    _obs_busy: bool

    def _obs_end(self, error: BaseException | None = None) -> None:
        for answer_span in self._obs_spans:
            answer_span.end(error)

    def _obs_item(self, item: object) -> None:
        for answer_span in self._obs_spans:
            answer_span.item(item)

    def _obs_take(self, step: Callable[..., Any], *args: Any) -> Any:
        """Read an item by `step`."""
        if (
            self._obs_busy
        ):  # a step of the SDK that reads an item by another of its methods
            return step(*args)
        self._obs_busy = True
        try:
            item = self._obs_spans[0].context.run(step, *args)
        except StopIteration:
            self._obs_end()
            raise
        except BaseException as error:
            self._obs_end(error)
            raise
        finally:
            self._obs_busy = False
        self._obs_item(item)
        return item

    async def _obs_take_async(self, step: Callable[[], Awaitable[Any]]) -> Any:
        """Read an item by awaiting the result of `step`."""
        if self._obs_busy:
            return await step()
        self._obs_busy = True
        try:
            item = await self._obs_spans[0].context.run_async(step)
        except StopAsyncIteration:
            self._obs_end()
            raise
        except BaseException as error:
            self._obs_end(error)
            raise
        finally:
            self._obs_busy = False
        self._obs_item(item)
        return item

    def _obs_opened(self, opened: Any) -> Any:
        """Return `opened`, watched if it is a stream; its end is now the end of the spans."""
        if opened is self or opened is vars(self).get("_obs_inner"):
            return self
        for answer_span in self._obs_spans:
            stream = call_contained(
                "watching a stream", self._obs_watch, opened, answer_span
            )
            if stream is not None:
                opened = stream
            elif is_raw_response(opened):
                answer_span.end_whole(opened)
        vars(self)["_obs_open"] = opened
        if is_watched(opened):
            for ending in self._obs_finalizers:
                ending.detach()
        return opened

    def _obs_left(self, error: BaseException | None) -> None:
        """End the spans at the end of a ``with`` block, before the SDK closes the stream."""
        opened: Any = vars(self).get("_obs_open")
        if is_watched(opened):
            opened._obs_end(error)
        else:
            self._obs_end(error)

    def _obs_closing(self, close: Callable[..., Any]) -> Callable[..., Any]:
        def closing(*args: Any, **kwargs: Any) -> Any:
            closed = close(*args, **kwargs)
            if inspect.isawaitable(closed):
                return self._obs_closed(closed)
            self._obs_end()
            return closed

        return closing

    async def _obs_closed(self, closed: Awaitable[Any]) -> Any:
        try:
            return await closed
        finally:
            self._obs_end()


class _Iterator:
    def __iter__(self: Any) -> Any:
        return self

    def __next__(self: Any) -> Any:
        return self._obs_take(_own(self).__next__)


class _AsyncIterator:
    def __aiter__(self: Any) -> Any:
        return self

    async def __anext__(self: Any) -> Any:
        return await self._obs_take_async(_own(self).__anext__)


class _Iterable:
    """Streams of botocore: each loop makes an iterator over the same events."""

    def __iter__(self: Any) -> Iterator[Any]:
        items = _own(self).__iter__()
        try:
            while True:
                yield self._obs_take(next, items)
        except StopIteration:
            return


class _AsyncIterable:
    async def __aiter__(self: Any) -> AsyncIterator[Any]:
        items = _own(self).__aiter__()
        try:
            while True:
                yield await self._obs_take_async(items.__anext__)
        except StopAsyncIteration:
            return


class _Manager:
    def __enter__(self: Any) -> Any:
        try:
            opened = self._obs_spans[0].context.run(_own(self).__enter__)
        except BaseException as error:
            self._obs_end(error)
            raise
        return self._obs_opened(opened)

    def __exit__(self: Any, *error: Any) -> Any:
        self._obs_left(error[1])
        return _own(self).__exit__(*error)


class _AsyncManager:
    async def __aenter__(self: Any) -> Any:
        try:
            enter = _own(self).__aenter__
            opened = await self._obs_spans[0].context.run_async(enter)
        except BaseException as error:
            self._obs_end(error)
            raise
        return self._obs_opened(opened)

    async def __aexit__(self: Any, *error: Any) -> Any:
        self._obs_left(error[1])
        return await _own(self).__aexit__(*error)


class _Closed:
    def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._obs_closing(_own(self).close)(*args, **kwargs)


class _AsyncClosed:
    def aclose(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._obs_closing(_own(self).aclose)(*args, **kwargs)


class _Parsed:
    """A raw response of an SDK, read whole or as a stream."""

    def _obs_end(self: Any, error: BaseException | None = None) -> None:
        is_stream = is_watched(vars(self).get("_obs_open"))
        for answer_span in self._obs_spans:
            if is_stream:
                answer_span.end(error)
            elif error is not None:
                answer_span.end_failed(error)
            else:
                answer_span.end_whole(self)

    def parse(self: Any, *args: Any, **kwargs: Any) -> Any:
        parsed = _own(self).parse(*args, **kwargs)
        if inspect.isawaitable(parsed):
            return self._obs_parsed(parsed)
        return self._obs_opened(parsed)

    async def _obs_parsed(self: Any, parsed: Awaitable[Any]) -> Any:
        return self._obs_opened(await parsed)


PARTS: dict[str, type] = {
    "__next__": _Iterator,
    "__anext__": _AsyncIterator,
    "__enter__": _Manager,
    "__aenter__": _AsyncManager,
    "close": _Closed,
    "aclose": _AsyncClosed,
    "parse": _Parsed,
}
LOOPS: dict[str, type] = {"__aiter__": _AsyncIterable, "__iter__": _Iterable}
