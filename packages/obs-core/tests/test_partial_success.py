"""A partial success is read from an answer's bytes, of whatever signal; anything else says nothing."""

from __future__ import annotations

import threading

import pytest
from obs_core._export import partial_success
from obs_core._export.verdict import Verdict, take_verdict
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

pytestmark = pytest.mark.promise("CORE-33")

SPANS = trace_service_pb2.ExportTraceServiceResponse()
SPANS.partial_success.rejected_spans = 3
LOGS = logs_service_pb2.ExportLogsServiceResponse()
LOGS.partial_success.rejected_log_records = 3
METRICS = metrics_service_pb2.ExportMetricsServiceResponse()
METRICS.partial_success.rejected_data_points = 3
for _response in (SPANS, LOGS, METRICS):
    _response.partial_success.error_message = "too old"


@pytest.fixture(autouse=True)
def _forget() -> None:
    take_verdict()


@pytest.mark.parametrize("response", [SPANS, LOGS, METRICS])
def test_what_was_rejected_is_read(response) -> None:
    """The number and the reason; until the next export, and for this thread alone."""
    partial_success.note(response.SerializeToString())
    elsewhere: list[Verdict] = []
    thread = threading.Thread(target=lambda: elsewhere.append(take_verdict()))
    thread.start()
    thread.join()
    assert elsewhere == [Verdict()]
    assert take_verdict() == Verdict(rejected=3, reason="too old")
    assert take_verdict() == Verdict()


WARNING = trace_service_pb2.ExportTraceServiceResponse()
WARNING.partial_success.error_message = "all taken, but hurry"
NEGATIVE = trace_service_pb2.ExportTraceServiceResponse()
NEGATIVE.partial_success.rejected_spans = -1
SILENT = {
    "empty": b"",
    "no partial success": b"\x0a\x00",
    "a warning": WARNING.SerializeToString(),
    "below zero": NEGATIVE.SerializeToString(),
    "no protobuf": b"<html>",
    "cut": SPANS.SerializeToString()[:-1],
}


@pytest.mark.parametrize("answer", SILENT.values(), ids=SILENT)
def test_other_answers_say_nothing(answer: bytes) -> None:
    """Whatever a gateway in between makes up."""
    partial_success.note(answer)
    assert take_verdict() == Verdict()
