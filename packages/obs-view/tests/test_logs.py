"""Logs: received as spans are, kept beside them, found, and shown with their span."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from obs_view import Receiver
from obs_view._cli import main

from .test_cli import command
from .test_grpc import export
from .test_web import MS, ONE, attribute, get, send, timed

SERVICE = """
import logging, sys
from opentelemetry import trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
if sys.argv[1] == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
resource = Resource.create({"service.name": "orders"})
spans, logs = TracerProvider(resource=resource), LoggerProvider(resource=resource)
spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
log = logging.getLogger("shop")
log.setLevel("DEBUG")
log.addHandler(LoggingHandler(logger_provider=logs))
with spans.get_tracer("shop").start_as_current_span("POST /orders"):
    log.warning("card %s is slow", 4242)
log.info("outside of any span")
logs.shutdown()
spans.shutdown()
"""


def record(text: str, number: int = 0, **fields: object) -> dict[str, object]:
    """A log record of trace ONE in OTLP-JSON, written in span `number`."""
    ids = {"traceId": ONE, "spanId": f"{number:016x}"} if number else {}
    when = {
        "timeUnixNano": str(10**18 + 12 * MS),
        "severityNumber": 9,
        "severityText": "INFO",
    }
    return {**ids, **when, "body": {"stringValue": text}, **fields}


def send_logs(receiver: Receiver, *records: object, service: str = "shop") -> Any:
    """Post log records of `service`."""
    resource = {"attributes": [attribute("service.name", stringValue=service)]}
    body = {
        "resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]
    }
    answer = httpx.post(receiver.http_url + "/v1/logs", json=body, trust_env=False)
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.promise("VIEW-09")
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_logs_of_a_real_service_stand_with_their_span(
    receiver: Receiver, protocol: str
) -> None:
    """What Python's logging writes inside a span is in its trace, what it writes outside is in the list."""
    url = receiver.grpc_url if protocol == "grpc" else receiver.http_url
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SERVICE, protocol],
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url},
        check=True,
        timeout=60,
    )
    (trace,) = receiver.wait_for(1)
    (log,) = trace.logs
    assert (log.body, log.level, log.severity, log.service, log.span_id) == (
        "card 4242 is slow",
        "WARN",
        13,
        "orders",
        trace.root.span_id,
    )
    (shown,) = get(receiver, f"/api/traces/{trace.trace_id}")["logs"]
    assert (shown["body"], shown["span"], shown["trace"]) == (
        "card 4242 is slow",
        trace.root.span_id,
        trace.trace_id,
    )
    assert 0 <= shown["time"] <= trace.duration
    listed = get(receiver, "/api/logs")
    assert [log["body"] for log in listed["logs"]] == [
        "outside of any span",
        "card 4242 is slow",
    ]


@pytest.mark.promise("VIEW-09")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["three", "one two"]),
        ("q=one", ["one two"]),
        ('q="one two"', ["one two"]),
        ("q=-one", ["three"]),
        ("q=user.id=42", ["one two"]),
        ("q=user.id>=50", []),
        ("q=worker", ["three"]),
        (f"q={ONE[:8]}", ["one two"]),
        (f"q=trace_id={ONE}", ["one two"]),
        ("q=service=worker", ["three"]),
        ("service=shop", ["one two"]),
        ("level=warn", ["three"]),
        ("level=fatal", []),
        ("since=1000000000500", ["three"]),
        ("until=1000000000500", ["one two"]),
        ("offset=1", ["one two"]),
    ],
)
def test_search(receiver: Receiver, query: str, expected: list[str]) -> None:
    """By word, phrase, attribute, service, least level, time and trace; the latest first."""
    user = attribute("user.id", intValue="42")
    send_logs(receiver, record("one two", 1, attributes=[user]))
    late = {"timeUnixNano": str(10**18 + 1000 * MS), "severityNumber": 17}
    send_logs(receiver, record("three", **late), service="worker")
    found = get(receiver, "/api/logs?" + query)
    assert [log["body"] for log in found["logs"]] == expected
    assert found["total"] == len(expected) + ("offset" in query)


def test_what_is_not_understood_is_said(receiver: Receiver) -> None:
    """400, with what would be right."""
    assert get(receiver, "/api/logs?level=loud", 400) == {
        "error": "'LOUD' is no level: TRACE, DEBUG, INFO, WARN, ERROR, FATAL"
    }
    assert get(receiver, "/api/logs?offset=-2", 400) == {
        "error": "'-2' is no offset: write how many to leave out"
    }


@pytest.mark.promise("VIEW-09", "VIEW-11")
def test_a_bad_value_costs_its_record_alone(receiver: Receiver) -> None:
    """The other records are kept, the answer counts the bad one."""
    answer = send_logs(
        receiver, record("a"), record("b", timeUnixNano=-1), None, record("c")
    )
    assert answer["partialSuccess"]["rejectedLogRecords"] == "1"
    assert receiver.store.logs.count == 2


@pytest.mark.promise("VIEW-09")
def test_a_body_may_be_anything(receiver: Receiver) -> None:
    """A structured body is shown as JSON; odd ids and levels are no trouble."""
    body = {"kvlistValue": {"values": [attribute("n", intValue="1")]}}
    send_logs(
        receiver,
        record("", 0, body=body, traceId="abcd", severityNumber=0, severityText=""),
    )
    (log,) = get(receiver, "/api/logs")["logs"]
    assert (log["body"], log["level"], log["severity"]) == ('{"n": 1}', "", 0)


@pytest.mark.promise("VIEW-09")
def test_logs_are_bounded_and_outlive_the_process(tmp_path: Path) -> None:
    """By count, the oldest first, in memory and in the file; Clear forgets them too."""
    file = str(tmp_path / "traces.db")
    with Receiver(0, 0, db=file, max_spans=3) as receiver:
        send(receiver, timed(1, 0, 0, 10))
        for number in range(5):
            send_logs(
                receiver, record(f"l{number}", 1, timeUnixNano=str(10**18 + number))
            )
    with Receiver(0, 0, db=file) as receiver:
        assert [log["body"] for log in get(receiver, "/api/logs")["logs"]] == [
            "l4",
            "l3",
            "l2",
        ]
        assert [log.body for log in receiver.traces()[0].logs] == ["l2", "l3", "l4"]
        httpx.delete(receiver.http_url + "/api/traces", trust_env=False)
        assert receiver.store.logs.count == 0
    with Receiver(0, 0, db=file) as receiver:
        assert receiver.store.logs.count == 0


@pytest.mark.promise("VIEW-02", "VIEW-09")
@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], ["WARN slow", "ERROR broken"]),
        (["--log-level", "info"], ["INFO begins", "WARN slow", "ERROR broken"]),
        (["--log-level", "off"], []),
    ],
)
def test_tail_prints_logs_below_their_span(
    options: list[str], shown: list[str]
) -> None:
    """Warnings and worse, or from the level that was asked for."""
    with command("tail", *options) as running:
        logs = (
            record("begins", 1),
            record("slow", 1, severityNumber=13, severityText="WARN"),
            record("broken", 1, severityNumber=17, severityText=""),
        )
        send_logs(running, *logs)  # type: ignore[arg-type]
        send(running, timed(1, 0, 0, 10, name="work"))  # type: ignore[arg-type]
        lines = [line.strip(" │") for line in running.stop().splitlines()]
    assert [
        line for line in lines if line.split(" ")[0] in ("INFO", "WARN", "ERROR")
    ] == shown


@pytest.mark.promise("VIEW-07", "VIEW-09")
def test_an_exported_trace_brings_its_logs(
    receiver: Receiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One document holds both; ``show`` reads both."""
    send(receiver, timed(1, 0, 0, 10, name="work"))
    send_logs(receiver, record("slow", 1, severityNumber=13, severityText="WARN"))
    file = tmp_path / "trace.json"
    file.write_text(json.dumps(get(receiver, f"/api/traces/{ONE}/otlp")))
    assert main(["show", str(file)]) == 0
    assert "WARN slow" in capsys.readouterr().out


@pytest.mark.promise("VIEW-09")
def test_grpc_answers_bad_logs_as_bad_spans(receiver: Receiver) -> None:
    """Nothing to say is an empty response."""
    assert export(receiver, b"", ("logs", "Logs")) == b""
