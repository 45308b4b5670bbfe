"""The spool in an outage: live traffic goes on, the services are killed and restarted, and every span arrives once.

Services end 300 spans a second each, with a spool that they share. The collector goes away for a minute; in the middle of it
each service is killed (SIGKILL) and another started in its place. Timed is how long the spans that had ended when the collector
came back take to arrive, while the traffic goes on. The collector and the services write down what they took and what they
ended, so that lost and doubled spans are counted span by span.

With ``--no-spool`` no service is killed, and what is lost is held against what `stats()` counts. With ``--otelcol PATH`` the
services export to a real OpenTelemetry Collector, which goes away and comes back in place of the one behind it.

    python benchmarks/spool_drill.py [--rate 300] [--outage 60] [--protocol grpc|http …] [--processes 1 3 …] [--json]
        [--no-spool] [--otelcol PATH]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

#: Seconds that a step may take before the drill fails: for machines that are busy elsewhere.
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Figures:
    """One drill's outcome; bytes are those of the directory."""

    protocol: str
    processes: int
    rate: float
    outage_s: float
    spans: int
    backlog: int
    bytes_at_return: int
    drain_s: float
    bytes_left: int
    lost: int
    counted: int
    doubled: int


CONFIG = """
receivers: {{otlp: {{protocols: {{{protocol}: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
processors: {{memory_limiter: {{check_interval: 1s, limit_mib: 400}}, batch: {{timeout: 1s, send_batch_size: 1024}}}}
exporters: {{otlp: {{endpoint: "127.0.0.1:{behind}", tls: {{insecure: true}}}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], processors: [memory_limiter, batch], exporters: [otlp]}}}}
"""


class Journal:
    """A file of names, a line each, appended to by one process and read by another; it survives a SIGKILL."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> Callable[[Iterable[str]], None]:
        """Return what appends names, all of a call in one step."""
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        return lambda names: void(
            os.write(file, "".join(f"{name}\n" for name in names).encode())
        )

    def read(self) -> list[str]:
        """Return the names so far."""
        return self.path.read_text().splitlines() if self.path.exists() else []


def void(_: object) -> None:
    """Drop a value."""


def names_of(request: Any) -> list[str]:
    """Return the names of the spans in an OTLP request."""
    scopes = (scope for group in request.resource_spans for scope in group.scope_spans)
    return [span.name for scope in scopes for span in scope.spans]


def collect_http(port: int, journal: Journal) -> None:
    """Be a collector until SIGTERM; what has been written down is answered before the end."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
    )

    write, busy = journal.open(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with busy:
                write(names_of(ExportTraceServiceRequest.FromString(body)))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer.allow_reuse_address = True
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    wait_for_end()
    busy.acquire()
    os._exit(0)


def collect_grpc(port: int, journal: Journal) -> None:
    """Be a collector until SIGTERM; what has been written down is answered before the end."""
    import grpc
    from opentelemetry.proto.collector.trace.v1 import (
        trace_service_pb2,
        trace_service_pb2_grpc,
    )

    write = journal.open()

    class Servicer(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: object) -> Any:  # noqa: N802 - the protocol's
            write(names_of(request))
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Servicer(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    wait_for_end()
    server.stop(30).wait()


def serve(url: str, protocol: str, spool: str, rate: float, journal: Journal) -> None:
    """Be a service that ends `rate` spans a second until SIGTERM."""
    from obs_core import TracingConfig, setup_tracing
    from opentelemetry import trace

    manager, _ = setup_tracing(
        TracingConfig(
            service_name="drill",
            collector_url=url,
            collector_protocol=protocol,  # type: ignore[arg-type] # one of the two that the command line takes
            spool_dir=spool or None,
            exit_timeout_s=30.0,
        )
    )
    tracer, write, is_over = (
        trace.get_tracer("drill"),
        journal.open(),
        threading.Event(),
    )
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    print("ready", flush=True)
    began, ended = time.monotonic(), 0
    while not is_over.wait(0.01):
        for _ in range(int((time.monotonic() - began) * rate) - ended):
            name = f"{os.getpid()}.{ended}"
            tracer.start_span(
                name, attributes={"number": ended, "route": "/orders/{id}"}
            ).end()
            write([name])
            ended += 1
    manager.shutdown()
    found = manager.stats()
    counted = found.failed + found.dropped_queue_full + found.dropped_outage
    print(counted, flush=True)


def wait_for_end() -> None:
    """Say that all is ready, and wait for SIGTERM."""
    is_over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    print("ready", flush=True)
    while not is_over.wait(0.05):
        pass


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run this script in another role for the block."""
    command = [sys.executable, __file__, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen[str]) -> None:
    """Ask a process to end, and wait until it has."""
    process.terminate()
    assert process.wait(PATIENCE_S) == 0


def counted(service: subprocess.Popen[str]) -> int:
    """Ask a service to end, and return how many spans it counts as lost."""
    service.terminate()
    said, _ = service.communicate(timeout=PATIENCE_S)
    assert service.returncode == 0
    return int(said)


@contextmanager
def running_otelcol(
    path: str, folder: Path, protocol: str, port: int, behind: int
) -> Iterator[subprocess.Popen[str]]:
    """Run a real Collector for the block, which sends on to the port `behind` by gRPC."""
    file = folder / "collector.yaml"
    told = CONFIG.format(protocol=protocol, port=port, behind=behind)
    file.write_text(told, encoding="utf-8")
    with (folder / "collector.log").open("a") as log:
        process = subprocess.Popen(
            [path, f"--config={file}"], text=True, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not is_listening(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def is_listening(port: int) -> bool:
    """Whether somebody listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Drill:
    """A collector, services and a spool in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        stack: ExitStack,
        protocol: str,
        rate: float,
        otelcol: str | None,
        *,
        is_spooled: bool,
    ) -> None:
        self._stack, self._folder = stack, folder
        self._protocol = protocol
        self._rate = rate
        self._otelcol, self._behind = otelcol, free_port()
        self._port = free_port()
        self._is_spooled = is_spooled
        self._spool = folder / "spool"
        self._ended, self._taken = Journal(folder / "ended"), Journal(folder / "taken")
        if otelcol:
            self._collect("grpc", self._behind)

    def run(self, processes: int, outage_s: float) -> Figures:
        """Let the collector go and come back; return what came of the spans."""
        collector = self._start_collector()
        services = [self._start_service() for _ in range(processes)]
        self._wait_until(lambda: len(self._taken.read()) > self._rate)
        end(collector)
        time.sleep(outage_s / 2)
        if self._is_spooled:
            for service in services:
                service.kill()
            services = [self._start_service() for _ in range(processes)]
        time.sleep(outage_s / 2)
        ended_at_return = self._ended.read()
        waiting = set(ended_at_return) - set(self._taken.read())
        bytes_at_return, back_at = self._bytes(), time.monotonic()
        collector = self._start_collector()
        expected = waiting if self._is_spooled else set(ended_at_return[-1:])
        self._wait_until(lambda: self._has_arrived(expected))
        drain_s = time.monotonic() - back_at
        lost_by_count = sum(map(counted, services))
        if self._is_spooled:
            self._let_the_next_take_over()
        end(collector)
        self._wait_until(lambda: self._is_whole(lost_by_count))
        ended, taken = set(self._ended.read()), Counter(self._taken.read())
        return Figures(
            protocol=self._protocol,
            processes=processes,
            rate=self._rate,
            outage_s=outage_s,
            spans=len(ended),
            backlog=len(waiting),
            bytes_at_return=bytes_at_return,
            drain_s=drain_s,
            bytes_left=self._bytes(),
            lost=len(ended - taken.keys()),
            counted=lost_by_count,
            doubled=taken.total() - len(taken),
        )

    def _has_arrived(self, expected: set[str]) -> bool:
        """Whether the spans are taken; without a spool, whether one that ended after the outage is."""
        taken = set(self._taken.read())
        if self._is_spooled:
            return expected <= taken
        after = self._ended.read()
        last = max(map(after.index, expected), default=0)
        return bool(taken & set(after[last + 1 :]))

    def _is_whole(self, lost: int) -> bool:
        """Whether a Collector that ends has sent all on."""
        return len(set(self._taken.read())) + lost >= len(set(self._ended.read()))

    def _start_collector(self) -> subprocess.Popen[str]:
        if not self._otelcol:
            return self._collect(self._protocol, self._port)
        told = (self._protocol, self._port, self._behind)
        role = running_otelcol(self._otelcol, self._folder, *told)
        return self._stack.enter_context(role)

    def _collect(self, protocol: str, port: int) -> subprocess.Popen[str]:
        role = running("collect", protocol, port, self._taken.path)
        return self._stack.enter_context(role)

    def _start_service(self, rate: float | None = None) -> subprocess.Popen[str]:
        url, rate = (
            f"http://127.0.0.1:{self._port}",
            self._rate if rate is None else rate,
        )
        role = running(
            "serve",
            self._protocol,
            url,
            self._spool if self._is_spooled else "",
            rate,
            self._ended.path,
        )
        return self._stack.enter_context(role)

    def _let_the_next_take_over(self) -> None:
        """Start a service that ends no span: it exports what the last ones have left at their exit."""
        heir = self._start_service(rate=0.0)
        self._wait_until(lambda: not self._bytes())
        end(heir)

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.1)

    def _bytes(self) -> int:
        return sum(path.stat().st_size for path in self._spool.glob("*.spans"))


def drill(
    protocol: str, processes: int, asked: argparse.Namespace, *, is_spooled: bool
) -> Figures:
    """Run one drill."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        told = (Path(folder), stack, protocol, asked.rate, asked.otelcol)
        return Drill(*told, is_spooled=is_spooled).run(processes, asked.outage)


def row(figures: Figures) -> str:
    """Return a line of the table."""
    grew, drained = (
        figures.backlog / figures.outage_s,
        figures.backlog / figures.drain_s,
    )
    cells = (
        f"{figures.protocol}, {figures.processes} x {figures.rate:.0f} spans/s",
        f"{figures.outage_s:.0f}",
        f"{figures.backlog}",
        f"{figures.bytes_at_return}",
        f"{grew:.0f}",
        f"{drained:.0f}",
        f"{figures.drain_s:.1f}",
        f"{figures.bytes_left}",
        f"{figures.lost}",
        f"{figures.counted}",
        f"{figures.doubled}",
    )
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| traffic | outage, s | waiting at its end | bytes | grew, spans/s | drained, spans/s | drained in, s "
    "| bytes left | lost | counted | doubled |\n|---|" + "---:|" * 10
)


def main() -> None:
    """Print the table, or with ``--json`` a line for each drill."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--outage", type=float, default=60.0)
    parser.add_argument(
        "--protocol", nargs="+", choices=("grpc", "http"), default=("grpc", "http")
    )
    parser.add_argument("--processes", nargs="+", type=int, default=(1, 3))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-spool", action="store_true")
    parser.add_argument("--otelcol")
    asked = parser.parse_args()
    if not asked.json:
        print(HEAD, flush=True)
    for protocol in asked.protocol:
        for processes in asked.processes:
            figures = drill(protocol, processes, asked, is_spooled=not asked.no_spool)
            print(
                json.dumps(asdict(figures)) if asked.json else row(figures), flush=True
            )


if __name__ == "__main__":
    role, *rest = sys.argv[1:] or [""]
    if role == "collect":
        collect = collect_grpc if rest[0] == "grpc" else collect_http
        collect(int(rest[1]), Journal(Path(rest[2])))
    elif role == "serve":
        serve(rest[1], rest[0], rest[2], float(rest[3]), Journal(Path(rest[4])))
    else:
        main()
