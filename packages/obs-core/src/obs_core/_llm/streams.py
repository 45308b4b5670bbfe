"""Stand-ins for the streams that providers' SDKs return: the same interface, with each chunk seen on its way."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import suppress
from typing import Any

from obs_core._decorators.generator_context import Steps

_SNAPSHOTS = ("current_message_snapshot", "current_completion_snapshot")


def watched(answer: Any, steps: Steps) -> Any:
    """Return a stand-in for `answer` that shows its chunks to `steps`, or None where it is no stream."""
    kind = type(answer)
    if isinstance(answer, MutableMapping):
        return _watched_entry(answer, steps)
    if hasattr(kind, "read") or hasattr(kind, "json"):
        return None  # a file or a bare HTTP response, iterable or not
    if hasattr(kind, "__anext__") or (hasattr(kind, "__aenter__") and _is_pending(answer)):
        return _AsyncStream(answer, steps)
    if hasattr(kind, "__next__") or (hasattr(kind, "__enter__") and _is_pending(answer)):
        return _Stream(answer, steps)
    return None


def _is_pending(answer: Any) -> bool:
    """Whether `answer` is a context manager that opens a stream, and no answer that can be closed."""
    return not hasattr(answer, "usage") and not hasattr(answer, "choices")


def _watched_entry(
    answer: MutableMapping[str, Any], steps: Steps
) -> MutableMapping[str, Any] | None:
    """Put the stand-in where Bedrock's dict has its event stream."""
    for key in ("stream", "body"):
        events = answer.get(key)
        # the "body" of invoke_model is one JSON document, read as a file
        if events is None or isinstance(events, (str, list, dict)) or hasattr(events, "read"):
            continue
        if hasattr(events, "__aiter__"):
            answer[key] = _AsyncStream(events, steps)
            return answer
        if hasattr(events, "__iter__"):
            answer[key] = _Stream(events, steps)
            return answer
    return None


class _StandIn:
    """Whatever is not about iterating, entering and closing goes to the stream itself, `isinstance` included."""

    def __init__(self, stream: Any, steps: Steps) -> None:
        self._obs_stream = stream
        self._obs_steps = steps
        self._obs_entered: Any = stream
        self._obs_iterator: Any = None

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._obs_stream)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._obs_stream, name)
        if name in ("close", "aclose"):
            return self._obs_closing(value)
        return self._obs_texts(value) if name == "text_stream" else value

    def __repr__(self) -> str:
        return repr(self._obs_stream)

    def __del__(self) -> None:
        self._obs_end()

    def _obs_end(self, error: BaseException | None = None) -> None:
        for name in _SNAPSHOTS:
            # these raise where nothing has arrived
            with suppress(Exception):
                self._obs_steps.look(getattr(self._obs_entered, name))
        self._obs_steps.end(error)

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

    def _obs_texts(self, texts: Any) -> Any:
        raise NotImplementedError


class _Stream(_StandIn):
    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._obs_iterator is None:
            self._obs_iterator = iter(self._obs_stream)
        try:
            item = self._obs_steps.context.run(next, self._obs_iterator)
        except StopIteration:
            self._obs_end()
            raise
        except BaseException as error:
            self._obs_end(error)
            raise
        self._obs_steps.item(item)
        return item

    def __enter__(self) -> Any:
        try:
            entered = self._obs_entered = self._obs_steps.context.run(self._obs_stream.__enter__)
        except BaseException as error:
            self._obs_end(error)
            raise
        return self if entered is self._obs_stream else watched(entered, self._obs_steps) or entered

    def __exit__(self, *error: Any) -> Any:
        try:
            return self._obs_stream.__exit__(*error)
        finally:
            self._obs_end(error[1])

    def _obs_texts(self, texts: Iterator[Any]) -> Iterator[Any]:
        for text in texts:
            self._obs_steps.item(text)
            yield text


class _AsyncStream(_StandIn):
    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if self._obs_iterator is None:
            self._obs_iterator = aiter(self._obs_stream)
        try:
            item = await self._obs_steps.context.run_async(self._obs_iterator.__anext__)
        except StopAsyncIteration:
            self._obs_end()
            raise
        except BaseException as error:
            self._obs_end(error)
            raise
        self._obs_steps.item(item)
        return item

    async def __aenter__(self) -> Any:
        try:
            entered = self._obs_entered = await self._obs_steps.context.run_async(
                self._obs_stream.__aenter__
            )
        except BaseException as error:
            self._obs_end(error)
            raise
        return self if entered is self._obs_stream else watched(entered, self._obs_steps) or entered

    async def __aexit__(self, *error: Any) -> Any:
        try:
            return await self._obs_stream.__aexit__(*error)
        finally:
            self._obs_end(error[1])

    async def _obs_texts(self, texts: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for text in texts:
            self._obs_steps.item(text)
            yield text
