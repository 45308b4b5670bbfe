"""Log records on their way to a collector: ids, attributes, secrets, and nothing that the export says itself."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from obs_core.testing import OtlpSink, SinkLog

from .conftest import Run

pytestmark = pytest.mark.promise("CORE-95")
SET_UP = """
import json, logging, os, sys, threading, time
from opentelemetry import trace
from obs_core import TracingConfig, correlation_scope, setup_tracing
tracer = trace.get_tracer("test")
log = logging.getLogger("shop.orders")
log.setLevel(logging.DEBUG)
def set_up(**options):
    options.setdefault("schedule_delay_s", 0.1)
    return setup_tracing(TracingConfig(service_name="orders", logs=True, collector_url=sys.argv[1], **options)).manager
"""


def test_a_whole_record(run: Run, otlp_sink: OtlpSink) -> None:
    """Ids of span and correlation, OpenTelemetry's severity, the message, where it stands, and what was given beside it."""
    done = run(
        """
        set_up()
        with correlation_scope("abc"), tracer.start_as_current_span("span") as span:
            log.warning("order %d is late", 7, extra={"order": 7, "tags": ["a", "b"], "parts": {"n": 1.5, "ok": True}})
            context = span.get_span_context()
            print(json.dumps([context.trace_id, context.span_id, int(context.trace_flags)]))
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    (found,) = otlp_sink.wait_for_logs(1)
    ids = json.loads(done.stdout)
    assert [found.trace_id, found.span_id, found.flags] == ids
    assert (found.body, found.logger, found.service) == (
        "order 7 is late",
        "shop.orders",
        "orders",
    )
    assert (found.severity, found.severity_text) == (13, "WARN")
    path = found.attributes["code.file.path"]
    assert Path(path).name == "script.py"
    assert found.attributes == {
        "order": 7,
        "tags": ["a", "b"],
        "parts": {"n": 1.5, "ok": True},
        "correlation_id": "abc",
        "code.file.path": path,
        "code.line.number": found.attributes["code.line.number"],
        "code.function.name": "<module>",
    }
    span = otlp_sink.wait_for(1)[0]
    assert found.resource == span.resource
    assert span.start_time <= found.time <= span.end_time


def test_an_exception_and_a_stack(run: Run, otlp_sink: OtlpSink) -> None:
    """By the names of the conventions; outside a span there are no ids."""
    run(
        """
        set_up()
        class LateError(Exception): pass
        try:
            raise LateError("too late")
        except LateError:
            log.exception("failed")
        log.info("here", stack_info=True)
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    failed, here = otlp_sink.wait_for_logs(2)
    assert failed.severity_text == "ERROR"
    assert failed.attributes["exception.type"] == "__main__.LateError"
    assert failed.attributes["exception.message"] == "too late"
    stack = failed.attributes["exception.stacktrace"]
    assert stack.startswith("Traceback")
    assert "raise LateError" in stack
    assert (failed.trace_id, failed.span_id, failed.flags) == (0, 0, 0)
    assert "correlation_id" not in failed.attributes
    assert "log.info" in here.attributes["code.stacktrace"]


def test_secrets_are_masked_as_on_spans(run: Run, otlp_sink: OtlpSink) -> None:
    """By name, at any depth, in named arguments of the message too; those of the set-up and the built-in ones."""
    run(
        """
        set_up(redact=["*ssn*"])
        log.info("login", extra={"password": "p4ss", "user": {"ssn": "123-45", "name": "A"}, "rows": [{"api_key": "k3y"}]})
        log.info("token is %(token)s for %(name)s", {"token": "t0ken", "name": "A"})
        log.info({"event": "paid", "card_token": "c4rd", "amount": 3})
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    login, token, paid = otlp_sink.wait_for_logs(3)
    assert login.attributes["password"] == "[REDACTED]"
    assert login.attributes["user"] == {"ssn": "[REDACTED]", "name": "A"}
    assert login.attributes["rows"] == [{"api_key": "[REDACTED]"}]
    assert token.body == "token is [REDACTED] for A"
    assert (paid.body, paid.attributes["card_token"], paid.attributes["amount"]) == (
        "paid",
        "[REDACTED]",
        3,
    )


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_what_the_export_says_is_not_exported(
    run: Run, otlp_sink: OtlpSink, grpc_sink: Any, protocol: str
) -> None:
    """At level DEBUG, urllib3, gRPC and we have something to say on each export."""
    sink = {"http": otlp_sink, "grpc": grpc_sink}[protocol]
    done = run(
        """
        logging.basicConfig(level=logging.DEBUG, format="%(name)s|%(message)s", stream=sys.stderr)
        manager = set_up()
        for number in range(5):
            log.info("line %d", number)
            assert manager.flush(20)
        logging.getLogger("obs_core").warning("ours")
        logging.getLogger("opentelemetry.exporter.x").warning("theirs")
        logging.getLogger("urllib3.connectionpool").warning("of the program's own request")
        assert manager.flush(20)
        """,
        sink.url,
        prelude=SET_UP,
    )
    expected = [f"line {number}" for number in range(5)]
    expected.append("of the program's own request")
    logs = sink.logs if protocol == "grpc" else [log.body for log in otlp_sink.logs]
    assert logs == expected
    if protocol == "http":
        assert done.lines("urllib3.connectionpool"), "nothing was said"


def test_the_program_s_own_handlers_are_not_affected(
    run: Run, otlp_sink: OtlpSink
) -> None:
    """Warnings without a handler go to stderr; `basicConfig` afterwards still works; nothing is on the root logger."""
    done = run(
        """
        set_up()
        log.warning("last resort")
        assert logging.root.handlers == []
        logging.basicConfig(format="%(name)s|%(message)s", stream=sys.stderr)
        log.warning("configured")
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    assert "last resort" in done.stderr.splitlines()
    assert done.lines("shop.orders") == ["configured"]
    assert [log.body for log in otlp_sink.wait_for_logs(2)] == [
        "last resort",
        "configured",
    ]


@pytest.mark.parametrize(
    "configure",
    [
        "logging.basicConfig(force=True)",
        "logging.config.dictConfig({'version': 1, 'disable_existing_loggers': False, 'root': {'handlers': []}})",
        "log.propagate = False",
        "logging.root.handlers = []",
    ],
)
def test_no_configuration_of_logging_ends_the_export(
    run: Run, otlp_sink: OtlpSink, configure: str
) -> None:
    """Celery and Django take the root's handlers off, after the set-up; uvicorn's loggers do not propagate."""
    run(
        f"import logging.config\nset_up()\n{configure}\nlog.info('still here')",
        otlp_sink.url,
        prelude=SET_UP,
    )
    assert [log.body for log in otlp_sink.wait_for_logs(1)] == ["still here"]


def test_level_and_filters_are_those_of_any_handler(
    run: Run, otlp_sink: OtlpSink
) -> None:
    """`manager.log_handler` is a `logging.Handler`; a filter that raises costs the record, never the call."""
    run(
        """
        manager = set_up()
        manager.log_handler.setLevel("INFO")
        manager.log_handler.addFilter(lambda record: record.name != "noise" and 1 / record.args[0] > 0)
        log.debug("below %d", 1)
        logging.getLogger("noise").error("noise %d", 1)
        log.error("raises %d", 0)
        log.info("passes %d", 1)
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    assert [log.body for log in otlp_sink.wait_for_logs(1)] == ["passes 1"]


def test_whatever_is_logged_is_bounded_and_exported(
    run: Run, otlp_sink: OtlpSink
) -> None:
    """Objects whose `__str__` raises, arguments that do not fit, text without UTF-8, much of it, deep and circular values."""
    run(
        """
        logging.raiseExceptions = False
        set_up()
        class Broken:
            def __str__(self): raise RuntimeError("no text")
        loop = {}
        loop["self"] = loop
        log.info("does not fit %d", "x")
        log.info("object", extra={"broken": Broken(), "huge": 1 << 70, "none": None, "bytes": b"x", "set": {1},
                 "loop": loop, "lone": "\\ud800", "real": float("nan")})
        log.info(Broken())
        log.info("x" * 100_000, extra={f"key{number}": number for number in range(300)})
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    misfit, given, broken, large = otlp_sink.wait_for_logs(4)
    assert misfit.body == "does not fit %d"
    assert given.attributes["broken"] == "<Broken: __str__ raised RuntimeError>"
    assert given.attributes["huge"] == str(1 << 70)
    assert given.attributes["set"] == [1]
    assert given.attributes["lone"] == "?"
    assert "none" not in given.attributes
    assert broken.body == "<Broken: __str__ raised RuntimeError>"
    assert len(large.body.encode()) == 16_384
    extra = [name for name in large.attributes if name.startswith("key")]
    assert (len(extra), large.dropped_attributes) == (128, 172)


def test_a_full_queue_drops_counts_and_never_waits(run: Run, silent_port: int) -> None:
    """The collector hangs: what the queue does not hold is counted, and the line at the exit says so."""
    done = run(
        """
        manager = set_up(max_queue_size=100, max_export_batch_size=50, exit_timeout_s=0.5)
        for number in range(1000):
            log.info("line %d", number)
        counts = manager.log_stats()
        dropped = counts.dropped_queue_full + counts.dropped_outage
        print(counts.started, dropped >= 890)
        """,
        f"http://127.0.0.1:{silent_port}/v1/traces",
        prelude="import logging\nlogging.basicConfig(format='%(name)s|%(message)s')\n"
        + SET_UP,
    )
    assert done.stdout == "1000 True"
    (line,) = done.lines("obs_core.export")
    assert "0 log records exported, 1000 dropped" in line


@pytest.mark.promise("CORE-20")
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_exit_takes_its_time_once_for_all_signals(
    run: Run, silent_port: int, protocol: str
) -> None:
    """Spans and log records wait for a silent collector at the same time."""
    done = run(
        """
        set_up(exit_timeout_s=1, collector_protocol=sys.argv[2])
        for number in range(600):
            tracer.start_span("span").end()
            log.info("line")
        """,
        f"http://127.0.0.1:{silent_port}",
        protocol,
        prelude="import atexit, time\n"
        "atexit.register(lambda: print(f'GONE {time.monotonic()}', flush=True))\n"
        + SET_UP,
    )
    assert done.exit_s < 1.9


def test_shut_down_leaves_logging_as_it_was(run: Run, otlp_sink: OtlpSink) -> None:
    """The method is the original; a second set-up exports again, each record once."""
    done = run(
        """
        before = logging.Logger.callHandlers
        manager = set_up()
        assert logging.Logger.callHandlers is not before
        log.info("one")
        manager.shutdown()
        print(logging.Logger.callHandlers is before)
        log.info("between")
        manager = set_up()
        log.info("two")
        assert manager.flush(20)
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    assert done.stdout == "True"
    assert [log.body for log in otlp_sink.wait_for_logs(2)] == ["one", "two"]


def test_nothing_of_the_sdk_s_logs_is_imported_unless_asked_for(
    run: Run, otlp_sink: OtlpSink
) -> None:
    """Neither by the import nor by a set-up without logs."""
    done = run(
        """
        setup_tracing(TracingConfig(service_name="s", collector_url=sys.argv[1])).manager.flush()
        names = "opentelemetry.sdk._logs", "opentelemetry.exporter.otlp.proto.http._log_exporter", "obs_core._logs.handler"
        print([name for name in names if name in sys.modules])
        print(type(setup_tracing(TracingConfig(service_name="s", collector_url=sys.argv[1])).manager.log_handler).__name__)
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    assert done.stdout.splitlines() == ["[]", "NullHandler"]


def test_another_exporter_of_log_records_is_not_doubled(
    run: Run, otlp_sink: OtlpSink
) -> None:
    """The SDK's handler on the root logger, as auto-instrumentation puts it there."""
    done = run(
        """
        import warnings
        warnings.simplefilter("ignore")
        from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
        logging.getLogger().addHandler(LoggingHandler(logger_provider=LoggerProvider()))
        manager = set_up()
        log.info("once")
        manager.flush(20)
        print(manager.status.state, manager.status.problems[0])
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    assert done.stdout.startswith("degraded opentelemetry.sdk._logs")
    assert otlp_sink.logs == []


@pytest.mark.parametrize("value", ["yes", 1, "INFO"])
def test_a_wrong_value_says_the_fix(value: Any) -> None:
    """In code it raises."""
    from obs_core import TracingConfig
    from obs_core.exceptions import ConfigurationError

    with pytest.raises(ConfigurationError, match=r"logs=.*give True or False"):
        TracingConfig(service_name="s", logs=value)


def test_a_wrong_variable_is_a_warning(run: Run, otlp_sink: OtlpSink) -> None:
    """The environment takes no service down."""
    done = run(
        """
        manager = setup_tracing(TracingConfig(service_name="s", collector_url=sys.argv[1])).manager
        print(manager.status.problems[0])
        """,
        otlp_sink.url,
        prelude=SET_UP,
        OTEL_LOGS_EXPORTER="console",
    )
    assert "OTEL_LOGS_EXPORTER='console' is not valid: use otlp or none" in done.stdout


def sdk_s_record(record: logging.LogRecord) -> Any:
    """Return the message that the SDK's handler makes of `record`."""
    import warnings

    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
    from opentelemetry.sdk import _logs as sdk
    from opentelemetry.sdk._logs import export

    in_memory: Any = (
        getattr(export, "InMemoryLogRecordExporter", None) or export.InMemoryLogExporter
    )
    exporter = in_memory()
    provider = sdk.LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(export.SimpleLogRecordProcessor(exporter))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sdk.LoggingHandler(logger_provider=provider).emit(record)
    message = encode_logs(exporter.get_finished_logs())
    return message.resource_logs[0].scope_logs[0].log_records[0]


@pytest.mark.parametrize("level", [10, 13, 19, 20, 30, 31, 40, 50, 53])
def test_agrees_with_the_sdk_s_handler(level: int) -> None:
    """On severity, ids, body and what was given beside it."""
    from obs_core._export.encode.logs import LogEncoder
    from obs_core._logs.record import entry_of
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.sdk.trace import TracerProvider

    record = logging.LogRecord("a", level, __file__, 7, "text %s", ("x",), None, "f")
    record.order, record.text = 7, "é"
    with TracerProvider().get_tracer("t").start_as_current_span("span") as span:
        theirs = sdk_s_record(record)
        ours = LogRecord.FromString(LogEncoder().encode(entry_of(record)))
        assert ours.span_id == span.get_span_context().span_id.to_bytes(8, "big")
    for field in ("trace_id", "span_id", "flags", "body", "severity_number"):
        assert getattr(ours, field) == getattr(theirs, field), field
    # the SDK of 1.28 says CRITICAL
    assert ours.severity_text == theirs.severity_text.replace("CRITICAL", "FATAL")
    assert abs(ours.time_unix_nano - theirs.time_unix_nano) < 1000
    assert sorted(pair.key for pair in ours.attributes if "." not in pair.key) == [
        "order",
        "text",
    ]


def test_levels_below_debug_are_traces() -> None:
    """Loguru and others have a level TRACE, 5."""
    from obs_core._logs.record import severity

    assert [severity(level) for level in (0, 1, 5, 9, 25, 100)] == [0, 1, 1, 1, 12, 24]


def test_an_exporter_that_takes_no_bytes_is_given_the_sdk_s_records(
    monkeypatch: pytest.MonkeyPatch, otlp_sink: OtlpSink
) -> None:
    """A later version may have no place for ours: what arrives is the same."""
    sdk = pytest.importorskip("opentelemetry.sdk._logs")
    if not hasattr(sdk, "ReadableLogRecord"):
        pytest.skip("the exporters of this version take bytes")
    from obs_core import TracingConfig
    from obs_core._config.settings import resolve
    from obs_core._export import direct
    from obs_core._export.signals import LOGS
    from obs_core._logs.handler import ExportHandler
    from obs_core._setup.build_signals import export_of
    from opentelemetry.sdk.resources import Resource

    found: list[SinkLog] = []
    for is_known in (True, False):
        if not is_known:
            monkeypatch.setattr(direct, "direct_http", lambda exporter, *_: exporter)
        settings = resolve(
            TracingConfig(service_name="s", collector_url=otlp_sink.url), {}
        )
        export = export_of(settings, LOGS, str)
        handler = ExportHandler(export, Resource({"service.name": "s"}))
        record = logging.LogRecord("a", 20, "p", 7, "text", (), None, "f")
        record.parts = {"n": [1, "b"], "ok": True}
        handler.handle(record)
        assert export.begin_flush()(20)
        export.shutdown(5)
        found.append(replace(otlp_sink.logs[-1], time=0))
    assert found[0] == found[1]
