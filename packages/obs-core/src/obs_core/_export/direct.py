"""OTLP's exporters, given bytes of the direct encoder; connection, TLS, headers and retries stay theirs.

The place where they encode is not public. It is looked for in the version that is installed, and where it is not found, the
exporters encode as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from types import FunctionType
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from obs_core._export import partial_success, request_size
from obs_core._export.encode.encoder import Encoder
from obs_core._export.encode.sdk import span_by_sdk
from obs_core._export.grpc_at_fork import with_channel
from obs_core._export.signals import (
    TRACES,
    Exporter,
    Signal,
    extended,
    is_otlp,
    rebound,
)

#: The methods of the HTTP exporters that encode: of spans in 1.28, of later versions and other signals.
_HTTP_METHODS = ("_serialize_spans", "export")


class _Message:
    """Bytes in place of a protobuf message."""

    def __init__(self, serialised: bytes) -> None:
        self._serialised = serialised

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        return self._serialised

    SerializePartialToString = SerializeToString


def direct_http(
    exporter: type[Exporter], encoder: Encoder, signal: Signal = TRACES
) -> type[Exporter]:
    """Return the class `exporter` with `encoder`, or unchanged where the place to encode is not found."""

    def encode(batch: Sequence[Any]) -> _Message:
        return _Message(request_size.encode(encoder, batch))

    for name in _HTTP_METHODS:
        method = vars(exporter).get(name)
        if (
            isinstance(method, FunctionType)
            and signal.encode in method.__code__.co_names
        ):
            with_encoder = rebound(method, **{signal.encode: encode})
            return extended(exporter, direct_encoder=encoder, **{name: with_encoder})
    return exporter


def direct_grpc(
    exporter: type[Exporter], encoder: Encoder, signal: Signal = TRACES
) -> type[Exporter]:
    """Return the class `exporter` with `encoder`, or unchanged where the place to encode is not found."""
    if "_translate_data" not in vars(exporter):
        return exporter

    def translate(_: object, spans: Sequence[Any]) -> bytes:
        return request_size.encode(encoder, spans)

    return with_channel(
        exporter,
        signal,
        _BytesChannel,
        _translate_data=translate,
        direct_encoder=encoder,
    )


class _BytesChannel:
    """A gRPC channel whose requests are bytes, and whose answers are asked for a partial success."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def unary_unary(
        self,
        method: str,
        request_serializer: object,
        response_deserializer: Callable[[bytes], Any],
        **options: Any,
    ) -> Any:
        def read(answer: bytes) -> Any:
            partial_success.note(answer)
            return response_deserializer(answer)

        return self._channel.unary_unary(
            method, request_serializer=None, response_deserializer=read, **options
        )


def encoder_of(exporter: type[Exporter]) -> Encoder:
    """Return the encoder for spans on disk: the exporter's own, or one that agrees with the SDK's."""
    own: Encoder | None = getattr(exporter, "direct_encoder", None)
    if own is not None:
        return own
    if is_otlp(exporter) or disagreement():
        return Encoder(span_by_sdk)
    return Encoder()


@lru_cache(maxsize=1)
def disagreement() -> str | None:
    """Return why the direct encoder cannot be used with the SDK in use, or None if both write the same message."""
    specimens = _specimens()
    try:
        theirs = encode_spans(specimens)
        ours = type(theirs).FromString(Encoder().request(specimens))
    except Exception as error:  # noqa: BLE001 - whatever is laid out otherwise in a later version
        return f"the SDK in use is not known to the direct encoder: {error!r}"
    if ours != theirs:
        return "the SDK in use writes another message"
    return None


def _specimens() -> list[ReadableSpan]:
    """Return spans that differ in whatever versions of the SDK could write in another way."""
    contexts = [
        SpanContext(1 << 120 | 7, 9, is_remote, flags)  # type: ignore[arg-type] # the API takes a number
        for is_remote in (False, True)
        for flags in (0, 1, 3)
    ]
    return [
        _specimen(context, parent, kind)
        for context in contexts
        for parent, kind in zip([None, *contexts], SpanKind, strict=False)
    ]


def _specimen(
    context: SpanContext, parent: SpanContext | None, kind: SpanKind
) -> ReadableSpan:
    attributes: dict[str, Any] = {
        "text": "x",
        "true": True,
        "whole": -1,
        "real": 1.5,
        "list": ["a", "b"],
    }
    return ReadableSpan(
        "specimen",
        context,
        parent,
        Resource({"a": 1}, "https://resource"),
        attributes,
        [Event("event", attributes, 3)],
        [Link(context, attributes)],
        kind,
        status=Status(StatusCode.ERROR, "why"),
        start_time=1,
        end_time=2,
        instrumentation_scope=InstrumentationScope("scope", "1", "https://scope"),
    )
