"""Spans a request, start and memory of a public application, Fides (FastAPI, SQLAlchemy 1.4, Celery): none, contrib, ours.

Its wheel is installed in an environment of its own, beside contrib's instrumentations for all libraries that it has, as
`opentelemetry-bootstrap` names them, and the packages of this clone. Each contestant is its API and a Celery worker:

- bare: nothing is set up
- contrib: `opentelemetry-instrument`
- contrib, ours' libraries: the same, with the instrumentations alone of libraries that ours instrument too
- ours: `setup_tracing(instrument="auto")`

A request creates a privacy request, whose task runs in the worker. Start is from the command to the first answer of /health;
memory is the API's, after the requests, a collection and `malloc_trim`. Figures are medians of the rounds, in random order.

    python benchmarks/public_app.py [--rounds 3] [--requests 5] [--packages CLONE/packages] [--home DIR] [--tree]

DATABASE_URL names a running PostgreSQL (default postgresql://postgres@127.0.0.1/postgres), in which a database is made and
dropped. The Redis is pip's embedded one. `--home` keeps the environment for a next run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from obs_core.testing import OtlpSink, SinkSpan, render_tree

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.services import embedded_redis, free_port  # noqa: E402 - after the path

APPLICATION, PYTHON = "ethyca-fides==2.86.2", "3.13"
PACKAGES = ("obs-core", "obs-celery", "obs-db", "obs-http", "obs-aws")
LIBRARIES = [
    "botocore",
    "celery",
    "fastapi",
    "httpx",
    "redis",
    "requests",
    "sqlalchemy",
]
POSTGRES = "postgresql://postgres@127.0.0.1/postgres"
COUNTED = "POST /api/v1/privacy-request"
CONTESTANTS = ("bare", "contrib", "contrib, ours' libraries", "ours")
SERVE = """
import ctypes, gc, os
SETUP
from fides.api.main import app
from fides.api.tasks import celery_app as celery
from fastapi import Response

def memory():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as file:
        return Response(str(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6))

app.add_api_route("/memory", memory)
app.router.routes.insert(0, app.router.routes.pop())
"""
SETUP = """
from obs_core import TracingConfig, setup_tracing
setup_tracing(TracingConfig(service_name="fides"), instrument="auto")
"""


@dataclass
class Home:
    """Where the application is installed and runs."""

    folder: Path
    environment: dict[str, str]

    def program(self, name: str) -> str:
        return str(self.folder / "venv" / "bin" / name)


def install(home: Path, packages: Path) -> None:
    """Make the environment, the modules to serve, and the folders that the application's wheel lacks."""
    for folder in ("config", "dataset", "icon"):
        (home / "data" / "saas" / folder).mkdir(parents=True, exist_ok=True)
    (home / "data" / "saas" / "icon" / "default.svg").write_text("<svg/>")
    (home / "serve_bare.py").write_text(SERVE.replace("SETUP", ""))
    (home / "serve_ours.py").write_text(SERVE.replace("SETUP", SETUP))
    python = str(home / "venv" / "bin" / "python")
    if not Path(python).exists():
        uv("venv", "--python", PYTHON, str(home / "venv"))
        uv(*pip(python), APPLICATION, "opentelemetry-distro", "opentelemetry-exporter-otlp")  # fmt: skip
        bootstrap = [str(home / "venv" / "bin" / "opentelemetry-bootstrap"), "-a"]
        named = subprocess.check_output([*bootstrap, "requirements"], text=True)
        uv(*pip(python), *(line.split("==")[0] for line in named.split()))
    folders = [str(packages / name) for name in PACKAGES]
    uv(*pip(python), "--reinstall", "--no-deps", *folders)
    uv(*pip(python), *folders)


def pip(python: str) -> list[str]:
    return ["pip", "install", "--python", python]


def uv(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "uv", *arguments, "--quiet"], check=True)


@contextmanager
def a_database(url: str) -> Iterator[dict[str, str]]:
    """Make a database of its own for the block; yield what names it to the application."""
    import psycopg

    name, parts = f"public_app_{secrets.token_hex(4)}", urlsplit(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield settings(
                "DATABASE",
                server=parts.hostname,
                port=parts.port or 5432,
                user=parts.username,
                password=parts.password or "none",
                db=name,
            )
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def settings(section: str, **values: Any) -> dict[str, str]:
    return {f"FIDES__{section}__{key.upper()}": str(v) for key, v in values.items()}


def application(redis_url: str) -> dict[str, str]:
    """The application's own settings: no account, no approval, nothing that leaves the machine."""
    parts = urlsplit(redis_url)
    return {
        **settings("REDIS", host=parts.hostname, port=parts.port or 6379),
        **settings("REDIS", user="", password=""),
        **settings("SECURITY", app_encryption_key="0123456789abcdef" * 2, env="dev"),
        **settings("SECURITY", oauth_root_client_id="root"),
        **settings("SECURITY", oauth_root_client_secret="secret"),
        **settings("CELERY", task_always_eager=False),
        **settings("EXECUTION", require_manual_request_approval=False),
        **settings("EXECUTION", subject_identity_verification_required=False),
        **settings("LOGGING", level="WARNING"),
        **settings("USER", analytics_opt_out=True),
    }


def tracing(contestant: str, home: Home, sink: OtlpSink) -> dict[str, str]:
    """What a contestant is told by the environment."""
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url.removesuffix("/v1/traces"),
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": "500",
        "OTEL_SERVICE_NAME": "fides",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    off = set(instrumentations(home))
    if contestant == "contrib":
        off = {name for name in off if name.startswith("obs")}
    elif contestant.startswith("contrib"):
        off -= set(LIBRARIES)
    return {**told, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ",".join(sorted(off))}


def instrumentations(home: Home) -> list[str]:
    group = "opentelemetry_instrumentor"
    code = f"import importlib.metadata as m; print(*{{e.name for e in m.entry_points(group='{group}')}})"
    python = home.program("python")
    return subprocess.check_output([python, "-c", code], text=True).split()


class Running:
    """A contestant's API and worker, until `stop`."""

    def __init__(self, contestant: str, home: Home, sink: OtlpSink) -> None:
        self.module = "serve_ours" if contestant == "ours" else "serve_bare"
        self.launcher = (
            [home.program("opentelemetry-instrument")]
            if contestant.startswith("contrib")
            else []
        )
        self.home, self.port, self.token = home, free_port(), ""
        self.environment = {**home.environment, **tracing(contestant, home, sink)}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.start_s = self._start_api()
        self._start_worker()

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        program, *arguments = command
        with (self.home.folder / f"{program}.log").open("wb") as log:
            process = subprocess.Popen(
                [*self.launcher, self.home.program(program), *arguments],
                cwd=self.home.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def _start_api(self) -> float:
        start = time.monotonic()
        process = self._start(
            "uvicorn", f"{self.module}:app", "--port", str(self.port),
            "--log-level", "warning",
        )  # fmt: skip
        self._wait(process, "/health")
        took = time.monotonic() - start
        keys = {"client_id": "root", "client_secret": "secret"}
        form = urlencode({**keys, "grant_type": "client_credentials"}).encode()
        self.token = self.ask("/api/v1/oauth/token", form)["access_token"]
        return took

    def _wait(self, process: subprocess.Popen[bytes], path: str) -> None:
        while process.poll() is None:
            try:
                self.ask(path)
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise SystemExit(f"the API has ended: see {self.home.folder}/uvicorn.log")

    def _start_worker(self) -> None:
        queues = "fides,fidesops.messaging,fides.dsr"
        self._start(
            "celery", "--app", f"{self.module}:celery", "worker", "--loglevel", "ERROR",
            "--concurrency", "1", "--queues", queues, "--without-mingle",
        )  # fmt: skip

    def ask(self, path: str, body: bytes | None = None) -> Any:
        request = Request(f"http://127.0.0.1:{self.port}{path}", body)
        if self.token:
            request.add_header("authorization", f"Bearer {self.token}")
            request.add_header("content-type", "application/json")
        with urlopen(request, timeout=60) as response:
            return json.load(response)

    def request(self) -> None:
        """Create a privacy request, and wait until its task is done."""
        identity = {"email": f"{secrets.token_hex(8)}@example.com"}
        body = [{"policy_key": "default_access_policy", "identity": identity}]
        made = self.ask("/api/v1/privacy-request", json.dumps(body).encode())
        [made] = made["succeeded"]
        deadline = time.monotonic() + 120
        while self._status(made["id"]) in ("pending", "approved", "in_processing"):
            if time.monotonic() > deadline:
                raise SystemExit(f"not done: see {self.home.folder}/celery.log")
            time.sleep(1)

    def _status(self, number: str) -> str:
        found = self.ask(f"/api/v1/privacy-request?request_id={number}")
        return str(found["items"][0]["status"])

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


@dataclass
class Round:
    """What a contestant's round measured."""

    start_s: float
    memory_mb: float
    traces: list[list[SinkSpan]]
    apart: list[list[SinkSpan]]


def a_round(contestant: str, home: Home, requests: int) -> Round:
    with OtlpSink() as sink:
        running = Running(contestant, home, sink)
        try:
            running.request()
            quiet(sink)
            before = len(sink.spans)
            for _ in range(requests):
                running.request()
            quiet(sink)
            memory = float(running.ask("/memory"))
        finally:
            running.stop()
        spans = sink.spans[before:]
    traces = by_trace(spans)
    return Round(
        running.start_s,
        memory,
        [each for each in traces if any(span.name == COUNTED for span in each)],
        [each for each in traces if not any(span.kind == "SERVER" for span in each)],
    )


def quiet(sink: OtlpSink, quiet_s: float = 3.0) -> None:
    """Wait until a request's spans have come."""
    seen, since = -1, time.monotonic()
    end = since + 10 * quiet_s
    while time.monotonic() < min(since + quiet_s, end):
        if len(sink.spans) != seen:
            seen, since = len(sink.spans), time.monotonic()
        time.sleep(0.1)


def by_trace(spans: list[SinkSpan]) -> list[list[SinkSpan]]:
    traces: dict[int, list[SinkSpan]] = {}
    for span in spans:
        traces.setdefault(span.trace_id, []).append(span)
    return list(traces.values())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=5)
    parser.add_argument("--packages", type=Path, default=ROOT / "packages")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--tree", action="store_true")
    parser.add_argument("--only", action="append", choices=CONTESTANTS)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = options.home or Path(stack.enter_context(TemporaryDirectory()))
        install(folder.resolve(), options.packages.resolve())
        database = stack.enter_context(
            a_database(os.environ.get("DATABASE_URL", POSTGRES))
        )
        redis = application(stack.enter_context(embedded_redis()))
        environment = {**os.environ, **database, **redis}
        home = Home(folder.resolve(), environment | {"HOME": str(folder.resolve())})
        measure(home, options)


def measure(home: Home, options: argparse.Namespace) -> None:
    contestants = options.only or list(CONTESTANTS)
    a_round("bare", home, 0)  # makes the tables
    rounds: dict[str, list[Round]] = {name: [] for name in contestants}
    for number in range(options.rounds):
        for name in random.sample(contestants, len(contestants)):
            rounds[name].append(a_round(name, home, options.requests))
            print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
    print("| | spans a request | PING | traces beside it | start, s | memory, MB |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, taken in rounds.items():
        print(row(name, taken))
    if options.tree:
        for name, taken in rounds.items():
            for trace in taken[-1].traces[-1:]:
                print(f"\n{name}\n{render_tree(trace)}")


def row(name: str, rounds: list[Round]) -> str:
    traces = [trace for each in rounds for trace in each.traces]
    requests = max(1, len(traces))
    spans = median([len(trace) for trace in traces] or [0])
    pings = median([sum(s.name == "PING" for s in t) for t in traces] or [0])
    apart = sum(len(each.apart) for each in rounds) / requests
    start = median(each.start_s for each in rounds)
    memory = median(each.memory_mb for each in rounds)
    return (
        f"| {name} | {spans:g} | {pings:g} | {apart:.1f} | {start:.1f} | {memory:.1f} |"
    )


if __name__ == "__main__":
    main()
