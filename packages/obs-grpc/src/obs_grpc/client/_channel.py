"""Channels whose RPCs have a CLIENT span, on the public classes ``grpc.Channel`` and ``grpc.aio.Channel``.

A traced channel starts the span, adds the trace context to the metadata, lets grpc make the call, and ends the span when the
RPC is done. The caller gets grpc's own call object. Interceptors (``grpc.intercept_channel``, ``interceptors=``) would replace
that object, start aio RPCs a turn of the event loop later, and cost more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import grpc
from grpc import StatusCode
from obs_core.integration import call_contained, is_suppressed
from opentelemetry.context import attach, detach, get_current

from obs_grpc._attributes import server_address
from obs_grpc._outcome import as_status_code
from obs_grpc._propagation import with_context
from obs_grpc._rpc import Codec, Rpc
from obs_grpc._state import Instrumentation, Method

Args = tuple[Any, ...]
KwArgs = dict[str, Any]
Watch = Callable[[Any, Rpc], None]


@dataclass
class RemoteMethod:
    """A method of the server, as called through a channel.

    Attributes:
        instrumentation: The options and tracer.
        method: The name and the start attributes of the spans.
        make: The channel's ``unary_unary``, ``unary_stream``, ``stream_unary`` or ``stream_stream``, with the method's name.
        codecs: The request serializer and the response deserializer.
        streams: Whether requests, and whether responses, are streams: streams are counted.
        args: Further arguments of `make`, which differ between versions of grpc.
        kwargs: Further keyword arguments of `make`.
        plain: grpc's multi-callable.
    """

    instrumentation: Instrumentation
    method: Method
    make: Callable[..., Callable[..., Any]]
    codecs: tuple[Codec | None, Codec | None]
    streams: tuple[bool, bool]
    args: Args
    kwargs: KwArgs

    def __post_init__(self) -> None:
        self.plain = self.make(*self.codecs, *self.args, **self.kwargs)
        self._has_events = self.instrumentation.options.include_message_events
        self._counts = self._has_events or any(self.streams)

    def call(self, name: str, args: Args, kwargs: KwArgs) -> Any:
        """Call the multi-callable's method `name`, which blocks until the RPC is done."""
        rpc = self._start()
        if rpc is None:
            return getattr(self.plain, name)(*args, **kwargs)
        result = _invoke(rpc, getattr(self._multi_callable(rpc), name), args, kwargs)
        rpc.end(StatusCode.OK)
        return result

    def begin_call(self, name: str, args: Args, kwargs: KwArgs, watch: Watch) -> Any:
        """Call the multi-callable's method `name`, which returns a call object at once.

        Args:
            name: ``"__call__"`` or ``"future"``.
            args: The caller's arguments.
            kwargs: The caller's keyword arguments.
            watch: Called with the call object and the RPC; arranges that the span ends when the call is done.
        """
        rpc = self._start()
        if rpc is None:
            return getattr(self.plain, name)(*args, **kwargs)
        call = _invoke(rpc, getattr(self._multi_callable(rpc), name), args, kwargs)
        if rpc.is_open:
            call_contained("watching a gRPC call", watch, call, rpc)
        return call

    def _start(self) -> Rpc | None:
        """Start the span; None if uninstrumented. If suppressed, the RPC has no span but carries the current context."""
        if not self.instrumentation.active:
            return None
        rpc = Rpc(self.instrumentation)
        current = get_current()
        if is_suppressed(current):
            rpc.context = current
        else:
            rpc.start(self.method, current)
        return rpc

    def _multi_callable(self, rpc: Rpc) -> Any:
        """Return grpc's multi-callable; a stream's messages go through codecs that count for `rpc`."""
        if not self._counts or not rpc.span.is_recording():
            return self.plain
        serializer, deserializer = self.codecs
        requests, responses = self.streams
        if requests or self._has_events:
            serializer = rpc.counted(serializer, responses=False, count=requests)
        if responses or self._has_events:
            deserializer = rpc.counted(deserializer, responses=True, count=responses)
        return self.make(serializer, deserializer, *self.args, **self.kwargs)


def _invoke(rpc: Rpc, function: Callable[..., Any], args: Args, kwargs: KwArgs) -> Any:
    """Call `function` with the span current, and the trace context in the metadata."""
    if len(args) > 2:  # the third argument of every multi-callable is the metadata
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
    """End `rpc` by an exception: an RpcError has a code; any other exception prevented the RPC, and is recorded."""
    if isinstance(error, grpc.RpcError) and isinstance(
        error, grpc.Call | grpc.aio.AioRpcError
    ):
        rpc.end(as_status_code(error.code()), error.details())
    else:
        rpc.end(None, error=error)


class TracedMultiCallable:
    """A multi-callable that traces the calls of grpc's; other attributes are those of grpc's multi-callable."""

    _obs_watch: Watch

    def __init__(self, remote: RemoteMethod) -> None:
        self._obs_remote = remote

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._obs_remote.begin_call("__call__", args, kwargs, self._obs_watch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._obs_remote.plain, name)


def multi_callable(
    base: Any, watch: Watch, ours: type[TracedMultiCallable] = TracedMultiCallable
) -> type[Any]:
    """Return the class of a shape's multi-callables, of grpc's abstract class `base`; `watch` as for `begin_call`."""
    return type(base.__name__, (ours, base), {"_obs_watch": staticmethod(watch)})


def _shape(shape: str) -> Callable[..., Any]:
    """Return the channel method `shape`, for instance ``unary_stream``, which makes traced multi-callables."""
    requests, _, responses = shape.partition("_")
    streams = (requests == "stream", responses == "stream")

    # the signature is grpc's; the arguments after the codecs differ between versions
    def method_of_shape(
        self: TracedChannel,
        method: str,
        request_serializer: Codec | None = None,
        response_deserializer: Codec | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Return grpc's multi-callable for `method`, traced unless the method is excluded."""
        make = partial(self._obs_make, shape, method)
        codecs = (request_serializer, response_deserializer)
        instrumentation = self._obs_instrumentation
        known = instrumentation.method(method)
        if known is None:
            return make(*codecs, *args, **kwargs)
        known = known._replace(attributes={**known.attributes, **self._obs_server})
        remote = RemoteMethod(
            instrumentation, known, make, codecs, streams, args, kwargs
        )
        return self._obs_multi_callables[shape](remote)

    method_of_shape.__name__ = shape
    return method_of_shape


class TracedChannel:
    """The common part of traced sync and aio channels; other attributes are those of the channel behind.

    Args:
        channel: The channel behind, which can still be used, untraced.
        instrumentation: The options and tracer.
        target: The address of the server, for ``server.address`` and ``server.port``. Default: asked from the channel.
    """

    _obs_multi_callables: ClassVar[Mapping[str, type[Any]]]

    def __init__(
        self, channel: Any, instrumentation: Instrumentation, target: str | None = None
    ) -> None:
        self._obs_channel = channel
        self._obs_instrumentation = instrumentation
        target = target or call_contained(
            "asking a channel's target", target_of, channel
        )
        self._obs_server = server_address(target or "")

    unary_unary = _shape("unary_unary")
    unary_stream = _shape("unary_stream")
    stream_unary = _shape("stream_unary")
    stream_stream = _shape("stream_stream")

    def _obs_make(self, shape: str, *args: Any, **kwargs: Any) -> Any:
        # a method, so that a stub keeps this channel alive and uninstrumenting still finds the channel
        return getattr(self._obs_channel, shape)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._obs_channel, name)


def target_of(channel: Any) -> str | None:
    """Return the target of `channel` from private attributes, or None: grpc has no public way.

    https://github.com/grpc/grpc/issues/38519
    """
    inner = getattr(channel, "_channel", None)
    if inner is None:
        return None
    target = getattr(inner, "target", None)
    if target is None:
        return target_of(inner)
    if callable(target):
        target = target()
    return target.decode()  # type: ignore[no-any-return]
