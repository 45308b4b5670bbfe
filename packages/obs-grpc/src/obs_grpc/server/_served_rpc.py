"""An RPC being served, and the traced handler, sync and aio."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc
from grpc import StatusCode
from obs_core.integration import KEPT_HEADER, call_contained, keeping, kept_reason
from opentelemetry.context import attach, detach

from obs_grpc._attributes import Attributes, client_address, identity_of
from obs_grpc._outcome import as_status_code
from obs_grpc._propagation import context_of
from obs_grpc._rpc import Codec, Rpc
from obs_grpc._state import Instrumentation, Method

#: Starts the RPC of a servicer context.
Begin = Callable[[Any], "ServerRpc"]
#: Wraps a handler's function, given whether the responses are a stream.
Wrap = Callable[[Any, Begin, bool], Any]
_SHAPES = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}
# the client's deadline expires first: by the network's latency, and by the rounding of grpc-timeout (1 %)
_EARLY_S, _EARLY_SHARE = 0.02, 0.01


class ServerRpc(Rpc):
    """An RPC being served.

    Args:
        instrumentation: The options and tracer.
        method: The method.
        metadata: The metadata sent by the client.
        codec_code: The code that grpc sends if a message cannot be (de)serialized: INTERNAL, or UNKNOWN in grpc.aio.
    """

    __slots__ = (
        "_began",
        "_codec_code",
        "_ends_in_serializer",
        "_has_single_request",
        "_metadata",
        "_method",
        "_missed_deadline",
    )

    def __init__(
        self,
        instrumentation: Instrumentation,
        method: Method,
        metadata: Any,
        codec_code: StatusCode,
    ) -> None:
        super().__init__(instrumentation)
        self._method = method
        self._metadata = metadata
        self._codec_code = codec_code
        self._began = 0.0
        self._missed_deadline: bool | None = None
        self._has_single_request = False
        self._ends_in_serializer = False

    def begin(self, context: Any) -> ServerRpc:
        """Start the span, when the handler starts, below the caller's span; return self."""
        self._began = time.monotonic()
        self.start(self._method, context_of(self._metadata))
        if self.span.is_recording():
            self.attributes = (
                call_contained("reading a gRPC peer", self._caller, context) or {}
            )
            if (
                self._has_single_request
                and self.instrumentation.options.include_message_events
            ):
                # deserialized before the handler, and so the span, starts
                self.add_message_event(sent=False, number=1)
        return self

    def _caller(self, context: Any) -> Attributes:
        address = client_address(context.peer())
        if not self.instrumentation.options.identity_from_baggage:
            return address
        return {**address, **identity_of(self.context)}

    def run(self, function: Any, *args: Any) -> Any:
        """Call `function` with the span current."""
        token = attach(self.context)
        try:
            return function(*args)
        finally:
            detach(token)

    def gone(self, context: Any) -> None:
        """Note that the client is gone, now: because of the deadline, or of a cancellation."""
        left_s = context.time_remaining()
        early_s = _EARLY_S + _EARLY_SHARE * (time.monotonic() - self._began)
        self._missed_deadline = left_s is not None and left_s <= early_s

    def end_gone(self, context: Any, error: BaseException | None = None) -> None:
        """End as cancelled by the client, or by the deadline; `error` is the exception that the handler raised then."""
        if self._missed_deadline is None:
            self.gone(context)
        code = (
            StatusCode.DEADLINE_EXCEEDED
            if self._missed_deadline
            else StatusCode.CANCELLED
        )
        self.end(code, error=error)

    def end_returned(self, context: Any) -> None:
        """End when the handler has returned, with the code of ``context.set_code``, if any."""
        code = as_status_code(context.code())
        if keeping.is_on:
            call_contained("telling a gRPC caller", self._tell_kept, context, code)
        if not self._ends_in_serializer or code is not StatusCode.OK:
            self.end(code, _text(context.details()))

    def _tell_kept(self, context: Any, code: StatusCode) -> None:
        """Tell the caller, in the trailing metadata, that its unsampled request is kept here; an error tells by itself."""
        parent = getattr(self.span, "parent", None)
        if parent is None or not parent.is_remote:
            return
        reason = kept_reason(self.span, fails=code in self.instrumentation.errors)
        if reason is not None:
            sent = context.trailing_metadata() or ()
            context.set_trailing_metadata((*sent, (KEPT_HEADER, reason)))

    def end_raised(self, context: Any, error: BaseException, *, aborted: bool) -> None:
        """End when the handler has raised: `aborted` with a code, or by a failure."""
        code = as_status_code(context.code())
        if aborted:
            self.end(code, _text(context.details()))
            return
        if code is StatusCode.OK:
            code = StatusCode.UNKNOWN
        self.end(code, error=error)

    def deserializer(self, codec: Codec | None, *, stream: bool) -> Codec | None:
        """Return the deserializer of the requests."""
        self._has_single_request = not stream
        if not stream:
            return codec
        return self._ending(self.counted(codec, responses=False))

    def serializer(self, codec: Codec | None, *, stream: bool) -> Codec | None:
        """Return the serializer of the responses; with a single response, the span ends there."""
        self._ends_in_serializer = not stream
        if stream or self.instrumentation.options.include_message_events:
            codec = self.counted(codec, responses=True, count=stream)
        return self._ending(codec or _unchanged, last=not stream, sent=True)

    def _ending(self, codec: Codec, *, last: bool = False, sent: bool = False) -> Codec:
        """Return a codec that ends the span if the message cannot be (de)serialized, or is the `last` message."""

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


def _unchanged(message: Any) -> Any:
    return message


def handler_of_rpc(handler: Any, rpc: ServerRpc, wrap: Wrap) -> Any:
    """Return `handler` for a single RPC: `wrap` wraps the function, `rpc` the codecs."""
    requests, responses = (
        bool(handler.request_streaming),
        bool(handler.response_streaming),
    )
    shape, make = _SHAPES[requests, responses]
    return make(
        wrap(getattr(handler, shape), rpc.begin, responses),
        rpc.deserializer(handler.request_deserializer, stream=requests),
        rpc.serializer(handler.response_serializer, stream=responses),
    )


def handler_of_method(handler: Any, begin: Begin, wrap: Wrap) -> Any:
    """Return `handler` for all RPCs of a method, started by `begin`; without counts, as codecs do not know the RPC."""
    requests, responses = (
        bool(handler.request_streaming),
        bool(handler.response_streaming),
    )
    shape, make = _SHAPES[requests, responses]
    function = wrap(getattr(handler, shape), begin, responses)
    return make(function, handler.request_deserializer, handler.response_serializer)


def _text(details: Any) -> str | None:
    if isinstance(details, bytes):
        return details.decode("utf-8", "replace")
    return details  # type: ignore[no-any-return]
