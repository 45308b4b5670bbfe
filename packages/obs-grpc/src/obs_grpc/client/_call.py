"""A call of a remote method in a CLIENT span, sync and aio.

The span is started, the trace context is added to the metadata, grpc makes the call, and the span ends when the RPC is done.
The caller gets grpc's own call object. Interceptors (``grpc.intercept_channel``, ``interceptors=``) would replace that object,
start aio RPCs a turn of the event loop later, and cost more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from grpc import StatusCode
from obs_core.integration import call_contained, is_suppressed, keeping
from opentelemetry.context import attach, detach, get_current

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
        options = self.instrumentation.options
        self._on_start = options.on_start
        self._keeps_response = options.on_end is not None and not self.streams[1]

    def call(self, name: str, args: Args, kwargs: KwArgs) -> Any:
        """Call the multi-callable's method `name`, which blocks until the RPC is done."""
        rpc = self._start()
        if rpc is None:
            return getattr(self.plain, name)(*args, **kwargs)
        if keeping.is_on:
            return self._call_and_hear(rpc, name, args, kwargs)
        result = self._invoke(
            rpc, getattr(self._multi_callable(rpc), name), args, kwargs
        )
        rpc.end(StatusCode.OK)
        return result

    def _call_and_hear(self, rpc: Rpc, name: str, args: Args, kwargs: KwArgs) -> Any:
        """Call like `call`, by the method that returns the server's trailing metadata too."""
        function = self._multi_callable(rpc).with_call
        result, call = self._invoke(rpc, function, args, kwargs)
        call_contained("reading trailing metadata", rpc.hear_from, call)
        rpc.end(StatusCode.OK)
        return (result, call) if name == "with_call" else result

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
        call = self._invoke(rpc, getattr(self._multi_callable(rpc), name), args, kwargs)
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

    def _invoke(
        self, rpc: Rpc, function: Callable[..., Any], args: Args, kwargs: KwArgs
    ) -> Any:
        """Call `function` with the span current, and the trace context in the metadata."""
        request = args[0] if args else kwargs.get("request")
        if len(args) > 2:  # the third argument of every multi-callable is the metadata
            args = (*args[:2], with_context(args[2], rpc.context), *args[3:])
        else:
            kwargs["metadata"] = with_context(kwargs.get("metadata"), rpc.context)
        token = attach(rpc.context)
        try:
            if self._on_start is not None and rpc.span.is_recording():
                told = None if self.streams[0] else request
                call_contained("gRPC on_start", self._on_start, rpc.span, told)
            return function(*args, **kwargs)
        except BaseException as error:
            end_with(rpc, error)
            raise
        finally:
            detach(token)

    def _multi_callable(self, rpc: Rpc) -> Any:
        """Return grpc's multi-callable; a stream's messages go through codecs that count for `rpc`."""
        is_plain = not (self._counts or self._keeps_response)
        if is_plain or not rpc.span.is_recording():
            return self.plain
        serializer, deserializer = self.codecs
        requests, responses = self.streams
        if requests or self._has_events:
            serializer = rpc.counted(serializer, responses=False, count=requests)
        if responses or self._has_events:
            deserializer = rpc.counted(deserializer, responses=True, count=responses)
        if self._keeps_response:
            deserializer = rpc.kept(deserializer)
        return self.make(serializer, deserializer, *self.args, **self.kwargs)


def end_with(rpc: Rpc, error: BaseException) -> None:
    """End `rpc` by an exception: an RpcError has a code; any other exception prevented the RPC, and is recorded."""
    if isinstance(error, grpc.RpcError) and isinstance(
        error, grpc.Call | grpc.aio.AioRpcError
    ):
        rpc.end(as_status_code(error.code()), error.details())
    else:
        rpc.end(None, error=error)
