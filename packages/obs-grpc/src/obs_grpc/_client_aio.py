"""``grpc.aio.Channel``, traced."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, ClassVar, TypeVar

import grpc.aio

from obs_grpc._client import Traced, TracedChannel, end_with
from obs_grpc._semconv import as_status_code
from obs_grpc._tracing import Rpc

T = TypeVar("T")


class _Callable(Traced):
    @staticmethod
    def _obs_watch(call: Any, rpc: Rpc) -> None:
        watch(call, rpc)


class _UnaryUnary(_Callable, grpc.aio.UnaryUnaryMultiCallable):  # type: ignore[misc]
    pass


class _UnaryStream(_Callable, grpc.aio.UnaryStreamMultiCallable):  # type: ignore[misc]
    pass


class _StreamUnary(_Callable, grpc.aio.StreamUnaryMultiCallable):  # type: ignore[misc]
    pass


class _StreamStream(_Callable, grpc.aio.StreamStreamMultiCallable):  # type: ignore[misc]
    pass


class Channel(TracedChannel, grpc.aio.Channel):  # type: ignore[misc]
    """A ``grpc.aio.Channel`` in front of another, whose RPCs have a CLIENT span. To be used on that one's event loop."""

    _obs_callables: ClassVar[Mapping[str, type[Any]]] = {
        "unary_unary": _UnaryUnary,
        "unary_stream": _UnaryStream,
        "stream_unary": _StreamUnary,
        "stream_stream": _StreamStream,
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


def watch(call: Any, rpc: Rpc) -> None:
    """End `rpc` when `call` is done.

    A callback of the call's own would keep the call alive as long as the RPC runs, and so an abandoned RPC running: grpc
    cancels it when the call is no longer referenced. Calls through the user's interceptors have nothing better, though.
    """
    inner = getattr(call, "_cython_call", None)
    if inner is None:
        call.add_done_callback(lambda call: _end(rpc, call.code(), call.details()))
    else:
        inner.add_done_callback(lambda: _end(rpc, *_status(inner)))


def _status(inner: Any) -> tuple[Coroutine[Any, Any, Any], Coroutine[Any, Any, Any]]:
    async def code() -> Any:
        return (await inner.status()).code()

    async def details() -> Any:
        return (await inner.status()).details()

    return code(), details()


def _end(rpc: Rpc, code: Coroutine[Any, Any, Any], details: Coroutine[Any, Any, Any]) -> None:
    try:
        rpc.end(as_status_code(_now(code)), _now(details))
    except Exception as error:  # noqa: BLE001 - what an interceptor of the user's raised in place of an RPC
        end_with(rpc, error)


def _now(coroutine: Coroutine[Any, Any, T]) -> T | None:
    """Return what `coroutine` returns without waiting: a call that is done knows its code and details."""
    try:
        coroutine.send(None)
    except StopIteration as returned:
        return returned.value  # type: ignore[no-any-return]
    coroutine.close()
    return None
