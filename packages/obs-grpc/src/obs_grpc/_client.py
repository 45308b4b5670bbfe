"""Channels whose RPCs have a CLIENT span, on the public classes ``grpc.Channel`` and ``grpc.aio.Channel``.

A wrapped channel makes grpc's own calls with grpc's own call objects: it starts the span, adds the trace context to the
metadata, and is told when the RPC is done. Interceptors (``grpc.intercept_channel``, ``interceptors=``) would replace the
objects that the user gets, start aio RPCs a turn of the event loop later, and cost more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import grpc
from grpc import StatusCode
from obs_core.integration import call_contained
from opentelemetry.context import attach, detach

from obs_grpc._metadata import with_context
from obs_grpc._semconv import as_status_code, server_address
from obs_grpc._tracing import Codec, Method, Rpc, Tracing, start_client_rpc

Make = Callable[..., Callable[..., Any]]


class Remote:
    """A method of the other side as seen through a channel: how to call it, traced.

    Args:
        make: The channel's ``unary_unary``, ``unary_stream``, ``stream_unary`` or ``stream_stream``, with the method's name.
        codecs: The request serializer and the response deserializer.
        streams: Whether requests, and whether responses, are streams: streams are counted.
        rest: What else ``make`` takes, which differs between versions of grpc.
    """

    __slots__ = ("_codecs", "_counts", "_make", "_method", "_rest", "_streams", "plain", "tracing")

    def __init__(
        self,
        tracing: Tracing,
        method: Method,
        make: Make,
        codecs: tuple[Codec | None, Codec | None],
        streams: tuple[bool, bool],
        rest: tuple[tuple[Any, ...], dict[str, Any]],
    ) -> None:
        self.tracing = tracing
        self.plain = make(*codecs, *rest[0], **rest[1])
        self._method, self._make, self._codecs, self._streams, self._rest = (
            method,
            make,
            codecs,
            streams,
            rest,
        )
        self._counts = any(streams) or tracing.message_events

    def start(self) -> Rpc | None:
        """Start the span of a call, unless the instrumentation is off."""
        return start_client_rpc(self.tracing, self._method)

    def callable(self, rpc: Rpc) -> Any:
        """Return grpc's multi-callable for this call: the messages of streams go through codecs that count for `rpc`."""
        if not self._counts or not rpc.span.is_recording():
            return self.plain
        (serializer, deserializer), (requests, responses) = self._codecs, self._streams
        everything = self.tracing.message_events
        if requests or everything:
            serializer = rpc.counted(serializer, responses=False, count=requests)
        if responses or everything:
            deserializer = rpc.counted(deserializer, responses=True, count=responses)
        return self._make(serializer, deserializer, *self._rest[0], **self._rest[1])


def finish(remote: Remote, how: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make a call that blocks until the RPC is done; `how` names the multi-callable's method."""
    rpc = remote.start()
    if rpc is None:
        return getattr(remote.plain, how)(*args, **kwargs)
    result = invoke(rpc, getattr(remote.callable(rpc), how), args, kwargs)
    rpc.end(StatusCode.OK)
    return result


def begin(
    remote: Remote,
    how: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    watch: Callable[[Any, Rpc], None],
) -> Any:
    """Make a call that returns at once with a call object; `watch` sees to it that the span ends with the RPC."""
    rpc = remote.start()
    if rpc is None:
        return getattr(remote.plain, how)(*args, **kwargs)
    call = invoke(rpc, getattr(remote.callable(rpc), how), args, kwargs)
    if rpc.is_open:
        call_contained("watching a gRPC call", watch, call, rpc)
    return call


def invoke(
    rpc: Rpc, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call `function` with the span current and the trace context in the metadata, every multi-callable's third argument."""
    if len(args) > 2:
        args = (*args[:2], with_context(args[2], rpc.context), *args[3:])
    else:
        kwargs["metadata"] = with_context(kwargs.get("metadata"), rpc.context)
    token = attach(rpc.context)
    try:
        return function(*args, **kwargs)
    except BaseException as error:
        end_with(rpc, error)
        raise
    finally:
        detach(token)


def end_with(rpc: Rpc, error: BaseException) -> None:
    """End `rpc` as `error` says: an RpcError has a code; anything else never became an RPC, and is recorded."""
    if isinstance(error, grpc.RpcError) and isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        rpc.end(as_status_code(error.code()), error.details())
    else:
        rpc.end(None, error=error)


class Traced:
    """A multi-callable in front of grpc's; calling it returns grpc's own call object, whose end `_obs_watch` sees to."""

    def __init__(self, remote: Remote) -> None:
        self._obs_remote = remote

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return begin(self._obs_remote, "__call__", args, kwargs, self._obs_watch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._obs_remote.plain, name)

    @staticmethod
    def _obs_watch(call: Any, rpc: Rpc) -> None:
        raise NotImplementedError


def _shape(shape: str) -> Callable[..., Any]:
    requests, _, responses = shape.partition("_")
    streams = (requests == "stream", responses == "stream")

    # the signature is grpc's; what follows the codecs differs between its versions
    def multi_callable(
        self: TracedChannel,
        method: str,
        request_serializer: Codec | None = None,
        response_deserializer: Codec | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Return grpc's multi-callable for `method`, traced unless it is excluded."""
        make = partial(self._obs_make, shape, method)
        codecs = (request_serializer, response_deserializer)
        known = self._obs_tracing.method(method)
        if known is None:
            return make(*codecs, *args, **kwargs)
        known = known._replace(attributes={**known.attributes, **self._obs_server})
        remote = Remote(self._obs_tracing, known, make, codecs, streams, (args, kwargs))
        return self._obs_callables[shape](remote)

    multi_callable.__name__ = shape
    return multi_callable


class TracedChannel:
    """What the wrapped channels of both kinds have in common; everything else is the channel's own, by delegation.

    Args:
        channel: The channel behind, which stays usable, untraced.
        tracing: The instrumentation that it belongs to.
        target: What the channel connects to, for ``server.address`` and ``server.port``; None: asked from the channel.
    """

    _obs_callables: ClassVar[Mapping[str, type[Any]]]

    def __init__(self, channel: Any, tracing: Tracing, target: str | None = None) -> None:
        self._obs_channel = channel
        self._obs_tracing = tracing
        self._obs_server = server_address(
            target or call_contained("asking a channel's target", target_of, channel) or ""
        )

    unary_unary = _shape("unary_unary")
    unary_stream = _shape("unary_stream")
    stream_unary = _shape("stream_unary")
    stream_stream = _shape("stream_stream")

    def _obs_make(self, shape: str, *args: Any, **kwargs: Any) -> Any:
        # a method, so that a stub keeps this channel alive and it can still be uninstrumented
        return getattr(self._obs_channel, shape)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._obs_channel, name)


def target_of(channel: Any) -> str | None:
    """Return what `channel` connects to, as far as it can be known: grpc has no public way to ask.

    https://github.com/grpc/grpc/issues/38519
    """
    inner = getattr(channel, "_channel", None)
    if inner is None:
        return None
    target = getattr(inner, "target", None)
    if target is None:
        return target_of(inner)
    return (target() if callable(target) else target).decode()  # type: ignore[no-any-return]
