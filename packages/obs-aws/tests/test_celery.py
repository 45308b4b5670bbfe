"""A Celery worker whose broker is SQS, with obs-celery and obs-aws on: one trace, and none of the broker's own calls."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from obs_core.testing import OtlpSink, SinkSpan

from tests.services import celery_worker

HERE = Path(__file__).parent
IDLE_S = 3.0


def executions(spans: list[SinkSpan]) -> int:
    return sum(span.name == "process store" for span in spans)


@pytest.mark.soak
@pytest.mark.promise("AWS-03", "AWS-08", "AWS-09", "CEL-49")
@pytest.mark.parametrize("include_broker", [False, True])
def test_celery_over_sqs(
    aws_url: str, table: str, otlp_sink: OtlpSink, include_broker: bool
) -> None:
    """Two requests are two traces, whole; the worker's own calls, polling while it is idle included, are none.

    The producer's call of SQS is a span where it is asked for.
    """
    pytest.importorskip("obs_celery")
    pytest.importorskip("pycurl")
    told = {"AWS_URL": aws_url, "SINK_URL": otlp_sink.url, "QUEUE": table}
    if include_broker:
        told["INCLUDE_BROKER"] = "1"
    with celery_worker("sqs_worker", "--concurrency", "2", folder=HERE, **told):
        for count in (1, 2):
            subprocess.run(
                [sys.executable, "sqs_worker.py"],
                env={**os.environ, **told},
                cwd=HERE,
                check=True,
                timeout=60,
            )
            otlp_sink.wait_for(
                lambda spans, count=count: executions(spans) == count, 60
            )
        time.sleep(IDLE_S)
    spans = {span.span_id: span for span in otlp_sink.spans}
    assert [span.name for span in spans.values() if not span.parent_id] == [
        "POST /orders"
    ] * 2
    chains = [
        chain(spans, span)
        for span in spans.values()
        if span.name in ("DynamoDB.PutItem", f"send {table}")
    ]
    carried = ["POST /orders", "publish store", f"send {table}"]
    processed = ["POST /orders", "publish store", "process store", "DynamoDB.PutItem"]
    wanted = [carried, processed] if include_broker else [processed]
    assert sorted(chains) == sorted(wanted * 2)


def chain(spans: dict[str, SinkSpan], span: SinkSpan) -> list[str]:
    """The names of a span and of those above it, the root first."""
    above = chain(spans, spans[span.parent_id]) if span.parent_id else []
    return [*above, span.name]
