"""``grpc.Channel``, traced."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, ClassVar

import grpc
from grpc import StatusCode

from obs_grpc._client import Traced, TracedChannel, begin, end_with, finish
from obs_grpc._semconv import as_status_code
from obs_grpc._tracing import Rpc


class _Stream(Traced):
    """A method with a stream of responses."""

    @staticmethod
    def _obs_watch(call: Any, rpc: Rpc) -> None:
        watch(call, rpc)


class _Unary(_Stream):
    """A method with one response: waited for, or a future."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return finish(self._obs_remote, "__call__", args, kwargs)

    def with_call(self, *args: Any, **kwargs: Any) -> Any:
        return finish(self._obs_remote, "with_call", args, kwargs)

    def future(self, *args: Any, **kwargs: Any) -> Any:
        return begin(self._obs_remote, "future", args, kwargs, watch)


class _UnaryUnary(_Unary, grpc.UnaryUnaryMultiCallable):  # type: ignore[misc]
    pass


class _StreamUnary(_Unary, grpc.StreamUnaryMultiCallable):  # type: ignore[misc]
    pass


class _UnaryStream(_Stream, grpc.UnaryStreamMultiCallable):  # type: ignore[misc]
    pass


class _StreamStream(_Stream, grpc.StreamStreamMultiCallable):  # type: ignore[misc]
    pass


class Channel(TracedChannel, grpc.Channel):  # type: ignore[misc]
    """A ``grpc.Channel`` in front of another, whose RPCs have a CLIENT span. Thread-safe as that one is."""

    _obs_callables: ClassVar[Mapping[str, type[Any]]] = {
        "unary_unary": _UnaryUnary,
        "unary_stream": _UnaryStream,
        "stream_unary": _StreamUnary,
        "stream_stream": _StreamStream,
    }

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:
        """See ``grpc.Channel.subscribe``."""
        self._obs_channel.subscribe(callback, try_to_connect=try_to_connect)

    def unsubscribe(self, callback: Any) -> None:
        """See ``grpc.Channel.unsubscribe``."""
        self._obs_channel.unsubscribe(callback)

    def close(self) -> None:
        """See ``grpc.Channel.close``."""
        self._obs_channel.close()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def watch(call: Any, rpc: Rpc) -> None:
    """End `rpc` when `call` is done, or no longer referenced: grpc then cancels the RPC, which holding `call` would prevent."""
    add_callback = getattr(call, "add_callback", None)
    if add_callback is None:  # what an interceptor of the user's made of the call
        weakref.finalize(call, rpc.end, None).atexit = False
        return
    known = weakref.ref(call)
    state = getattr(
        call, "_state", None
    )  # outlives the call, and then is the only one to know the code

    def done() -> None:
        call = known()
        rpc.end(*_outcome(state if call is None else call))

    if add_callback(done):
        weakref.finalize(call, done).atexit = False
    elif (error := _error_in_place_of(call)) is not None:
        end_with(rpc, error)
    else:
        done()


def _error_in_place_of(call: Any) -> BaseException | None:
    """Return what an interceptor of the user's raised, of which grpc makes a call with a code of its own."""
    if not isinstance(call, grpc.Future) or call.cancelled():
        return None
    error: BaseException | None = call.exception()
    return None if isinstance(error, grpc.RpcError) else error


def _outcome(source: Any) -> tuple[StatusCode | None, str | None]:
    if source is None:
        return StatusCode.CANCELLED, None
    code, details = source.code, source.details
    return (as_status_code(code()), details()) if callable(code) else (code, details)
