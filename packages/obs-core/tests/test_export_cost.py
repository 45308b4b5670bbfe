"""Cost of the export in function calls: a count that no busy machine changes.

Times are measured by ``benchmarks/export.py``; the bound keeps the cost from growing unseen.
"""

from __future__ import annotations

import pytest
from obs_core._export.encode.encoder import Encoder
from obs_core._export.outage import OutageLog
from obs_core._export.queue import SpanQueue
from obs_core._export.sender import Sender
from obs_core._export.stats import Counts
from obs_core._provider.provider import SwitchableProvider
from obs_core._provider.resource import ProcessResource
from opentelemetry.sdk.trace.export import SpanExportResult

from tests.call_counts import function_calls

SPANS = 100
ATTRIBUTES = {"http.request.method": "GET", "http.response.status_code": 200}


class Direct:
    """Takes bytes as OTLP's exporters do, and sends them nowhere."""

    direct_encoder = Encoder()

    def export(self, batch: object) -> SpanExportResult:
        assert self.direct_encoder.request(batch)  # type: ignore[arg-type]
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


@pytest.mark.promise("CORE-84")
def test_calls_of_a_spans_export() -> None:
    """Queued, encoded and offered in a batch of a hundred: at most 36 calls a span, in Python and C."""
    switchable = SwitchableProvider(ProcessResource({}))
    switchable.sample(1.0)
    tracer = switchable.provider.get_tracer("test")
    spans = [tracer.start_span("a", attributes=ATTRIBUTES) for _ in range(SPANS)]
    for span in spans:
        span.end()
    queue = SpanQueue(SPANS, Counts(), None, takes_encoded=True)
    sender = Sender(Direct, OutageLog("test"))

    def export() -> None:
        for span in spans:
            queue.put(span, is_open=True, is_outage=False)  # type: ignore[arg-type]
        assert sender.offer(queue.head(SPANS))
        queue.take_out(SPANS, exported=True)

    calls = function_calls(export, switchable.provider)
    assert SPANS < calls <= 36 * SPANS, calls / SPANS
