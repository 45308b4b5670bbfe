"""Traced channels of ``grpc``: the multi-callables of each shape, and the end of a call."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, ClassVar

import grpc
from grpc import StatusCode
from obs_core.integration import call_contained, keeping

from obs_grpc._outcome import as_status_code
from obs_grpc._rpc import Rpc
from obs_grpc.client._call import end_with
from obs_grpc.client._channel import TracedChannel, TracedMultiCallable, multi_callable


def watch(call: Any, rpc: Rpc) -> None:
    """End `rpc` when `call` is done or no longer referenced: grpc then cancels the RPC. Keeps no reference to `call`."""
    add_callback = getattr(call, "add_callback", None)
    if (
        add_callback is None
    ):  # an interceptor of the user returned something other than a call
        weakref.finalize(call, rpc.end, None).atexit = False
        return
    reference = weakref.ref(call)
    # outlives the call, and then is the only source of the code
    state = getattr(call, "_state", None)

    def done() -> None:
        call = reference()
        source = state if call is None else call
        if keeping.is_on:
            call_contained("reading trailing metadata", rpc.hear_from, source)
        rpc.end(*_outcome(source))

    if add_callback(done):
        weakref.finalize(call, done).atexit = False
    elif (error := _interceptor_error(call)) is not None:
        end_with(rpc, error)
    else:
        done()


def _interceptor_error(call: Any) -> BaseException | None:
    """Return the exception of an interceptor, of which grpc makes a finished call with another code."""
    if not isinstance(call, grpc.Future) or call.cancelled():
        return None
    error: BaseException | None = call.exception()
    return None if isinstance(error, grpc.RpcError) else error


def _outcome(source: Any) -> tuple[StatusCode | None, str | None]:
    """Return code and details of a call, which has methods, or of a call's state, which has values."""
    if source is None:
        return StatusCode.CANCELLED, None
    if callable(source.code):
        return as_status_code(source.code()), source.details()
    return source.code, source.details


class _Unary(TracedMultiCallable):
    """A method with a single response, which the caller waits for or gets as a future."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._obs_remote.call("__call__", args, kwargs)

    def with_call(self, *args: Any, **kwargs: Any) -> Any:
        return self._obs_remote.call("with_call", args, kwargs)

    def future(self, *args: Any, **kwargs: Any) -> Any:
        return self._obs_remote.begin_call("future", args, kwargs, watch)


class Channel(TracedChannel, grpc.Channel):  # type: ignore[misc]
    """A ``grpc.Channel`` in front of a plain channel, as thread-safe as the plain channel."""

    _obs_multi_callables: ClassVar[Mapping[str, type[Any]]] = {
        "unary_unary": multi_callable(grpc.UnaryUnaryMultiCallable, watch, _Unary),
        "unary_stream": multi_callable(grpc.UnaryStreamMultiCallable, watch),
        "stream_unary": multi_callable(grpc.StreamUnaryMultiCallable, watch, _Unary),
        "stream_stream": multi_callable(grpc.StreamStreamMultiCallable, watch),
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
