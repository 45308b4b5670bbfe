"""OTLP/gRPC: errors; what is accepted is shown by the real exporter in test_receiver.py."""

from __future__ import annotations

import grpc
import pytest
from obs_view import Receiver
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

SERVICE = "/opentelemetry.proto.collector.{}.v1.{}Service/Export"


def export(
    receiver: Receiver, body: bytes, signal: tuple[str, str] = ("trace", "Trace")
) -> bytes:
    """Call Export with raw bytes."""
    with grpc.insecure_channel(receiver.grpc_url.removeprefix("http://")) as channel:
        answer: bytes = channel.unary_unary(SERVICE.format(*signal))(body, timeout=30)
        return answer


def request(name: str, span_id: bytes = b"s" * 8) -> bytes:
    """One span of that name."""
    message = ExportTraceServiceRequest()
    span = (
        message.resource_spans.add()
        .scope_spans.add()
        .spans.add(trace_id=b"t" * 16, span_id=span_id, name=name)
    )
    span.start_time_unix_nano = 1
    return message.SerializeToString()


@pytest.mark.promise("VIEW-06")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(
            request("buy")[:-3], grpc.StatusCode.INVALID_ARGUMENT, id="truncated"
        ),
        pytest.param(
            request("x" * 50_000_000), grpc.StatusCode.RESOURCE_EXHAUSTED, id="50 MB"
        ),
    ],
)
def test_bad_messages_get_the_right_status(
    receiver: Receiver, body: bytes, code: grpc.StatusCode
) -> None:
    """INVALID_ARGUMENT, which exporters do not repeat, and RESOURCE_EXHAUSTED; then the receiver goes on."""
    with pytest.raises(grpc.RpcError) as caught:
        export(receiver, body)
    assert caught.value.code() is code
    assert export(receiver, request("buy")) == b""
    assert [trace.root.name for trace in receiver.traces()] == ["buy"]


@pytest.mark.promise("VIEW-06")
def test_invalid_ids_are_rejected_alone(receiver: Receiver) -> None:
    """The answer counts the rejected spans."""
    answer = ExportTraceServiceResponse.FromString(
        export(receiver, request("buy", b"short"))
    )
    assert answer.partial_success.rejected_spans == 1


@pytest.mark.promise("VIEW-11")
def test_half_a_character_costs_its_span_alone(receiver: Receiver) -> None:
    """Invalid UTF-8 in one span's name: the spans beside it are kept."""
    body = request("buy") + request("WXYZ", b"x" * 8).replace(b"WXYZ", b"\xc3abc")
    answer = ExportTraceServiceResponse.FromString(export(receiver, body))
    assert answer.partial_success.rejected_spans == 1
    assert [trace.root.name for trace in receiver.traces()] == ["buy"]
