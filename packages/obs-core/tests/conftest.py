"""What the tests of the bootstrap share: scripts in processes of their own, and collectors of every temper."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .llm_provider import provider

PRELUDE = """
import atexit, os, sys, time, threading, logging
atexit.register(lambda: print(f"GONE {time.monotonic()}", flush=True))  # the first one registered is the last one run
logging.basicConfig(format="%(name)s|%(message)s", stream=sys.stderr)
from opentelemetry import trace
from obs_core import TracingConfig, setup_tracing
tracer = trace.get_tracer("test")
def spans(count, name="span"):
    for _ in range(count):
        tracer.start_span(name).end()
"""


@dataclass(frozen=True)
class Finished:
    """A script that ran to its end.

    `exit_s` is the time from its last statement to the end of its exit hooks (or of the process, where it runs none), `end_s`
    to the end of the process: the interpreter's own share of that is long where the machine is busy elsewhere.
    """

    returncode: int
    stdout: str
    stderr: str
    exit_s: float
    end_s: float

    def lines(self, logger: str) -> list[str]:
        return [
            line.partition("|")[2]
            for line in self.stderr.splitlines()
            if line.startswith(f"{logger}|")
        ]


Run = Callable[..., Finished]


def without_telemetry(**extra: str) -> dict[str, str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OTEL_", "GRPC_"))
    }
    return {**kept, **extra}


@pytest.fixture
def clean_environment() -> Callable[..., dict[str, str]]:
    """This environment without what would steer tracing, and with what the test gives."""
    return without_telemetry


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a script in a new interpreter, with the usual imports before it; fail unless it exits with `status`."""

    def run_script(
        body: str, *arguments: str, status: int = 0, prelude: str = PRELUDE, **env: str
    ) -> Finished:
        path = tmp_path / "script.py"
        path.write_text(
            prelude
            + textwrap.dedent(body)
            + "\nprint(f'END {time.monotonic()}', flush=True)\n"
        )
        process = subprocess.Popen(
            [sys.executable, str(path), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=without_telemetry(**env), cwd=tmp_path,
        )  # fmt: skip
        try:
            out, err = process.communicate(timeout=100)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        ended = time.monotonic()
        assert process.returncode == status, (
            f"exit status {process.returncode}, not {status}\n{out}\n{err}"
        )
        marks = {"END": ended, "GONE": ended}
        lines = []
        for line in out.splitlines():
            mark, _, at = line.partition(" ")
            if mark in marks:
                marks[mark] = float(at)
            else:
                lines.append(line)
        exit_s, end_s = marks["GONE"] - marks["END"], ended - marks["END"]
        return Finished(process.returncode, "\n".join(lines), err, exit_s, end_s)

    return run_script


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """A port where every connection is refused: bound, so that no one else gets it, and not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


class GrpcSink:
    """A real OTLP/gRPC receiver, which answers after `delay_s`; `names` are of spans, `logs` bodies of log records."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.names: list[str] = []
        self.logs: list[str] = []
        self.metadata: dict[str, str] = {}
        self.delay_s = 0.0
        self._changed = threading.Condition()

    def take(self, names: list[str], metadata: dict[str, str]) -> None:
        with self._changed:
            self.names += names
            self.metadata = metadata
            self._changed.notify_all()

    def wait_for(self, count: int, timeout_s: float = 30.0) -> list[str]:
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.names) >= count, timeout_s
            ), self.names
            return list(self.names)


@contextmanager
def serve_grpc() -> Iterator[GrpcSink]:
    import grpc
    from opentelemetry.proto.collector.logs.v1 import (
        logs_service_pb2,
        logs_service_pb2_grpc,
    )
    from opentelemetry.proto.collector.trace.v1 import (
        trace_service_pb2,
        trace_service_pb2_grpc,
    )

    class Servicer(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request, context):
            groups = [
                scope.spans
                for group in request.resource_spans
                for scope in group.scope_spans
            ]
            sink.take(
                [span.name for spans in groups for span in spans],
                dict(context.invocation_metadata()),
            )
            time.sleep(sink.delay_s)
            return trace_service_pb2.ExportTraceServiceResponse()

    class LogsServicer(logs_service_pb2_grpc.LogsServiceServicer):
        def Export(self, request, context):
            sink.logs += [
                record.body.string_value
                for group in request.resource_logs
                for scope in group.scope_logs
                for record in scope.log_records
            ]
            return logs_service_pb2.ExportLogsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(4))
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(LogsServicer(), server)
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Servicer(), server)
    sink = GrpcSink(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    try:
        yield sink
    finally:
        server.stop(None).wait(5)


@pytest.fixture
def grpc_sink() -> Iterator[GrpcSink]:
    """A real OTLP/gRPC receiver on a free loopback port."""
    with serve_grpc() as sink:
        yield sink


@pytest.fixture(scope="module")
def provider_url() -> Iterator[str]:
    """The URL of a server that speaks the protocols of OpenAI's and Anthropic's APIs."""
    with provider() as url:
        yield url


@pytest.fixture
def gpt(provider_url: str) -> Iterator[Any]:
    """OpenAI's client of that server."""
    import openai

    with openai.OpenAI(
        base_url=provider_url + "/v1", api_key="k", max_retries=0
    ) as client:
        yield client


@pytest.fixture
def claude(provider_url: str) -> Iterator[Any]:
    """Anthropic's client of that server."""
    import anthropic

    with anthropic.Anthropic(
        base_url=provider_url, api_key="k", max_retries=0
    ) as client:
        yield client
