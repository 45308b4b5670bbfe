"""The SERVER span of one RPC, sync and aio alike: what it starts with, and how its end is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc
from grpc import StatusCode
from obs_core.integration import call_contained
from opentelemetry.context import attach, detach

from obs_grpc._identity import identity_of
from obs_grpc._metadata import context_of
from obs_grpc._semconv import Attributes, as_status_code, client_address
from obs_grpc._tracing import Codec, Method, Rpc, Tracing

#: Starts the RPC of a servicer context.
Begin = Callable[[Any], "ServerRpc"]
#: Wraps a handler's function, given whether it has a stream of responses.
Wrap = Callable[[Any, Begin, bool], Any]
_SHAPES = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


class ServerRpc(Rpc):
    """One RPC being served.

    Args:
        codec_code: What grpc tells the client when a message cannot be (de)serialized: INTERNAL, or UNKNOWN in grpc.aio.
    """

    __slots__ = (
        "_began",
        "_codec_code",
        "_gone_after_s",
        "_left_s",
        "_metadata",
        "_method",
        "_one_request",
        "_waits",
    )

    def __init__(
        self, tracing: Tracing, method: Method, metadata: Any, codec_code: StatusCode
    ) -> None:
        super().__init__(tracing)
        self._method = method
        self._metadata = metadata
        self._codec_code = codec_code
        self._began = 0.0
        self._left_s: float | None = None
        self._gone_after_s: float | None = None
        self._one_request = False
        self._waits = False

    def begin(self, context: Any) -> ServerRpc:
        """Start the span as the handler starts, below the caller's; return self."""
        self._began = time.monotonic()
        self.start(self._method, context_of(self._metadata))
        if self.span.is_recording():
            self.attributes = call_contained("reading a gRPC peer", self._caller, context) or {}
            if self._one_request and self.tracing.message_events:
                self.tell_message(
                    sent=False, number=1
                )  # deserialized before the handler, and so the span, starts
        return self

    def _caller(self, context: Any) -> Attributes:
        address = client_address(context.peer())
        return (
            {**address, **identity_of(self.context)}
            if self.tracing.options.identity_from_baggage
            else address
        )

    def run(self, function: Any, *args: Any) -> Any:
        """Call `function` with the span current."""
        token = attach(self.context)
        try:
            return function(*args)
        finally:
            detach(token)

    def gone(self, context: Any) -> None:
        """Note when the RPC ended under the handler's hands, to tell a deadline from a cancellation."""
        self._left_s = context.time_remaining()
        self._gone_after_s = time.monotonic() - self._began

    def end_gone(self, context: Any, error: BaseException | None = None) -> None:
        """End as cancelled by the client, or as overtaken by the deadline; `error` is what the handler made of it."""
        if self._gone_after_s is None:
            self.gone(context)
        # the client's deadline comes first: by the network's latency, and by the rounding of grpc-timeout (1 %)
        late = self._left_s is not None and self._left_s <= 0.02 + 0.01 * (self._gone_after_s or 0)
        code = StatusCode.DEADLINE_EXCEEDED if late else StatusCode.CANCELLED
        self.end(code, error=error)

    def end_returned(self, context: Any) -> None:
        """End as the handler said by returning, and maybe by ``context.set_code``."""
        code = as_status_code(context.code())
        if not self._waits or code is not StatusCode.OK:
            self.end(code, _text(context.details()))

    def end_raised(self, context: Any, error: BaseException, *, aborted: bool) -> None:
        """End as the handler said by raising: `aborted` on purpose with a code, or by accident."""
        code = as_status_code(context.code())
        if aborted:
            self.end(code, _text(context.details()))
        else:
            self.end(StatusCode.UNKNOWN if code is StatusCode.OK else code, error=error)

    def deserializer(self, codec: Codec | None, *, stream: bool) -> Codec | None:
        """Return what grpc is to deserialize requests with."""
        self._one_request = not stream
        return self._ending(self.counted(codec, responses=False)) if stream else codec

    def serializer(self, codec: Codec | None, *, stream: bool) -> Codec | None:
        """Return what grpc is to serialize responses with; a single response is the last thing to happen, and ends the span."""
        counts = stream or self.tracing.message_events
        counted = self.counted(codec, responses=True, count=stream) if counts else codec
        self._waits = not stream
        return self._ending(counted or _as_it_is, last=not stream, sent=True)

    def _ending(self, codec: Codec, *, last: bool = False, sent: bool = False) -> Codec:
        def ending(message: Any) -> Any:
            try:
                result = codec(message)
            except Exception as error:
                self.end(self._codec_code, error=error)
                raise
            if sent and result is None and self._codec_code is StatusCode.INTERNAL:
                # grpc.aio sends an empty message instead
                self.end(StatusCode.INTERNAL, "Failed to serialize response!")
            elif last:
                self.end(StatusCode.OK)
            return result

        return ending


def _as_it_is(message: Any) -> Any:
    return message


def traced_handler(handler: Any, rpc: ServerRpc, wrap: Wrap) -> Any:
    """Return `handler` for the one RPC `rpc`, its function wrapped by `wrap` and its codecs by `rpc`."""
    requests, responses = bool(handler.request_streaming), bool(handler.response_streaming)
    shape, make = _SHAPES[requests, responses]
    return make(
        wrap(getattr(handler, shape), rpc.begin, responses),
        rpc.deserializer(handler.request_deserializer, stream=requests),
        rpc.serializer(handler.response_serializer, stream=responses),
    )


def traced_for_good(handler: Any, begin: Begin, wrap: Wrap) -> Any:
    """Return `handler` for any number of RPCs, which `begin` starts: without counts, as grpc's codecs do not know the RPC."""
    shape, make = _SHAPES[bool(handler.request_streaming), bool(handler.response_streaming)]
    behavior = wrap(getattr(handler, shape), begin, bool(handler.response_streaming))
    return make(behavior, handler.request_deserializer, handler.response_serializer)


def _text(details: Any) -> str | None:
    return details.decode("utf-8", "replace") if isinstance(details, bytes) else details
