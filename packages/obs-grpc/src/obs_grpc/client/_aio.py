"""Traced channels of ``grpc.aio``: the multi-callables of each shape, and the end of a call."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, ClassVar, TypeVar

import grpc.aio
from grpc import StatusCode
from obs_core.integration import call_contained, keeping

from obs_grpc._outcome import as_status_code
from obs_grpc._rpc import Rpc
from obs_grpc.client._call import end_with
from obs_grpc.client._channel import TracedChannel, multi_callable

T = TypeVar("T")
Outcome = tuple[Any, str | None, Any]


def watch(call: Any, rpc: Rpc) -> None:
    """End `rpc` when `call` is done, or is refused. Keeps no reference to `call`.

    A callback added to the call itself would keep the call, and so an abandoned RPC, alive: grpc cancels the RPC of a call
    that is no longer referenced.
    """
    inner = getattr(call, "_cython_call", None)
    intercepting = getattr(call, "_interceptors_task", None)
    if inner is not None:
        _watch_start(call, rpc)
        inner.add_done_callback(lambda: _end(rpc, _inner_outcome(inner)))
    elif intercepting is not None:
        intercepting.add_done_callback(lambda task: _watch_intercepted(task, rpc))
    elif call.done():  # an interceptor of the user answered in place of the server
        _end(rpc, _outcome(call))
    else:
        call.add_done_callback(lambda call: _end(rpc, _outcome(call)))


def _watch_start(call: Any, rpc: Rpc) -> None:
    """End `rpc` with the exception by which grpc refuses to start `call`: a refused call is never done.

    https://github.com/grpc/grpc/pull/34148 makes the call done for some errors of three of the shapes.
    """
    response = getattr(call, "_call_response", None)
    start = response or getattr(call, "_preparation", None)
    if start is not None:
        start.add_done_callback(lambda task: _end_if_failed(task, rpc))
    if response is not None and rpc.instrumentation.options.on_end is not None:
        # the code is known before the response is read, which the hook is to see
        rpc.ends_with_response = True
        response.add_done_callback(lambda task: _end_with_response(task, rpc))


def _watch_intercepted(task: asyncio.Task[Any], rpc: Rpc) -> None:
    """Watch the call that the user's interceptors have returned; end `rpc` if they have raised."""
    if task.cancelled():
        rpc.end(StatusCode.CANCELLED)
    elif (error := _error_of(task)) is not None:
        end_with(rpc, error)
    else:
        call = task.result()
        call = (
            getattr(call, "_call", None) or call
        )  # an iterator of responses holds the call
        call_contained("watching a gRPC call", watch, call, rpc)


def _end_if_failed(task: asyncio.Task[Any], rpc: Rpc) -> None:
    if not task.cancelled() and (error := _error_of(task)) is not None:
        end_with(rpc, error)


def _end_with_response(task: asyncio.Task[Any], rpc: Rpc) -> None:
    if task.cancelled():
        rpc.end(StatusCode.CANCELLED)
    else:
        rpc.end(StatusCode.OK)  # has ended, if the task has failed


def _error_of(task: asyncio.Task[Any]) -> BaseException | None:
    # exception() would mark the error as retrieved, and asyncio would not log an error that the user ignores
    return getattr(task, "_exception", None)


async def _outcome(call: Any) -> Outcome:
    return await call.code(), await call.details(), await call.trailing_metadata()


async def _inner_outcome(inner: Any) -> Outcome:
    status = await inner.status()
    return status.code(), status.details(), status.trailing_metadata()


def _end(rpc: Rpc, outcome: Coroutine[Any, Any, Outcome]) -> None:
    try:
        code, details, trailers = _now(outcome) or (None, None, None)
        if keeping.is_on:
            rpc.hear(trailers)
        known = as_status_code(code)
        if not (rpc.ends_with_response and known is StatusCode.OK):
            rpc.end(known, details)
    except Exception as error:  # noqa: BLE001 - the exception of an interceptor of the user
        end_with(rpc, error)


def _now(coroutine: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of `coroutine` without waiting: a call that is done knows code and details."""
    try:
        coroutine.send(None)
    except StopIteration as returned:
        return returned.value  # type: ignore[no-any-return]
    coroutine.close()
    return None


class Channel(TracedChannel, grpc.aio.Channel):  # type: ignore[misc]
    """A ``grpc.aio.Channel`` in front of a plain channel, for the event loop of the plain channel."""

    _obs_multi_callables: ClassVar[Mapping[str, type[Any]]] = {
        "unary_unary": multi_callable(grpc.aio.UnaryUnaryMultiCallable, watch),
        "unary_stream": multi_callable(grpc.aio.UnaryStreamMultiCallable, watch),
        "stream_unary": multi_callable(grpc.aio.StreamUnaryMultiCallable, watch),
        "stream_stream": multi_callable(grpc.aio.StreamStreamMultiCallable, watch),
    }

    async def __aenter__(self) -> Channel:
        await self._obs_channel.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        return await self._obs_channel.__aexit__(*error)

    async def close(self, grace: float | None = None) -> None:
        """See ``grpc.aio.Channel.close``."""
        await self._obs_channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> Any:
        """See ``grpc.aio.Channel.get_state``."""
        return self._obs_channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: Any) -> None:
        """See ``grpc.aio.Channel.wait_for_state_change``."""
        await self._obs_channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """See ``grpc.aio.Channel.channel_ready``."""
        await self._obs_channel.channel_ready()
