"""``python -m obs_core doctor``, run as people run it."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from obs_core import TracingConfig
from obs_core._config.endpoint import Protocol
from obs_core._config.settings import Settings, resolve
from obs_core._doctor import probe as probing
from obs_core._export.signals import LOGS, METRICS, TRACES, Exporter, Signal

Doctor = Callable[..., tuple[int, str]]


@pytest.fixture
def doctor(tmp_path: Path, clean_environment) -> Doctor:
    """Run the doctor in `tmp_path`; return its exit status and what it printed."""

    def run(*arguments: str, **env: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "obs_core", "doctor", *arguments],
            cwd=tmp_path,
            env=clean_environment(**{"OTEL_SERVICE_NAME": "s", **env}),
            capture_output=True,
            text=True,
            timeout=110,
        )
        assert done.stderr == ""
        return done.returncode, done.stdout

    return run


def add_distribution(
    folder: Path,
    name: str,
    requires: str = "",
    entry_points: str = "",
    version: str = "1.0",
) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    )
    (info / "entry_points.txt").write_text(entry_points)


@pytest.mark.promise("CORE-71")
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_healthy(doctor: Doctor, otlp_sink, grpc_sink, protocol: str) -> None:
    """Status 0; each setting with its source; the collector really asked, and what it got is no span."""
    url = grpc_sink.url if protocol == "grpc" else otlp_sink.url
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=hunter2",
    }
    status, out = doctor("--timeout=30", **env)
    assert status == 0, out
    assert out.endswith("\nhealthy\n")
    assert f"ok    collector: {url} ({protocol}) took a request in" in out
    assert "'s'  (OTEL_SERVICE_NAME)" in out
    assert "hunter2" not in out
    assert (grpc_sink.names, otlp_sink.spans) == ([], [])


LIBRARIES = """
from fastapi import FastAPI
from obs_core import TracingConfig, setup_tracing, trace_function

manager, middleware = setup_tracing(TracingConfig(service_name="shop", schedule_delay_s=0.1))
bare = FastAPI()
app = FastAPI()
app.add_middleware(*middleware)
try:
    from obs_http import instrument_httpx
    instrument_httpx()
except ImportError:
    pass


@trace_function
def work(): ...


work()
"""


@pytest.mark.promise("CORE-122")
def test_names_the_middleware_and_who_traces_each_library(
    doctor: Doctor, tmp_path: Path
) -> None:
    """A web application with it and one without, and each library: itself, ours, nobody and what to call."""
    pytest.importorskip("fastapi")
    pytest.importorskip("obs_http")
    (tmp_path / "shop.py").write_text(LIBRARIES)
    _, out = doctor("--app=shop", OTEL_TRACES_EXPORTER="none")
    assert "ok    middleware: shop:app (FastAPI) has obs-http's Request" in out
    assert "warn  middleware: shop:bare (FastAPI) has no RequestTracing" in out
    assert "bare.add_middleware(*middleware_config)" in out
    assert re.search(r"^  httpx [\d.]+: obs-http [\d.]+$", out, re.MULTILINE)
    assert re.search(
        r"^  celery [\d.]+: nobody: obs-celery [\d.]+ does after instrument_celery\(\)",
        out,
        re.MULTILINE,
    )
    fastapi = r"^  fastapi [\d.]+: (itself and )?obs-http [\d.]+$"
    assert re.search(fastapi, out, re.MULTILINE)
    _, out = doctor("--app=shop:app", OTEL_TRACES_EXPORTER="none")
    assert "shop:bare" not in out


@pytest.mark.promise("CORE-122")
def test_without_a_collector_it_answers_at_once(
    doctor: Doctor, tmp_path: Path, refusing_port: int
) -> None:
    """The reason, obs-view as a way to see traces, and nothing of the exporters that retry meanwhile."""
    pytest.importorskip("fastapi")
    (tmp_path / "shop.py").write_text(LIBRARIES)
    url = f"http://127.0.0.1:{refusing_port}"
    status, out = doctor("--app=shop", OTEL_EXPORTER_OTLP_ENDPOINT=url)
    assert status == 1
    line = next(line for line in out.splitlines() if "collector: " in line)
    assert "(grpc) does not take spans: Connection refused. " in line
    assert line.endswith("obs-view tail")
    assert "retry" not in out


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_probe_keeps_its_deadline(
    protocol: Protocol, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One budget for both protocols: the second gets what the first has left, at least half."""
    asked: list[float] = []
    waited: list[float] = []
    build, wait = probing.build_exporter, threading.Event.wait

    def building(settings: Settings, signal: Signal) -> Exporter:
        asked.append(settings.export_timeout_s)
        return build(settings, signal)

    def waiting(event: threading.Event, timeout: float | None = None) -> bool:
        if threading.current_thread() is threading.main_thread():
            waited.append(timeout or 0.0)
        return wait(event, timeout)

    monkeypatch.setattr(probing, "build_exporter", building)
    monkeypatch.setattr(probing.threading.Event, "wait", waiting)
    url = f"http://127.0.0.1:{silent_port}"
    config = TracingConfig(
        service_name="s", collector_url=url, collector_protocol=protocol
    )
    result = probing.probe(resolve(config), 1.0)
    assert not result.taken
    assert "no answer within 1.0 s" in result.text
    asked_first, asked_then = asked
    assert asked_first <= 1.0
    assert asked_then <= 0.5
    assert sum(waited) <= 1.0


EVERY_SIGNAL = {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp"}


@pytest.mark.promise("CORE-71")
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_each_signal_is_asked_for_where_it_goes(
    doctor: Doctor, refusing_port: int, protocol: str
) -> None:
    """Spans and log records arrive, metrics do not: a line each; a signal that is not exported is not used."""
    obs_view = pytest.importorskip("obs_view")
    with obs_view.Receiver(0, 0) as receiver:
        url = receiver.grpc_url if protocol == "grpc" else receiver.http_url
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }
        _, out = doctor("--timeout=30", **env)
        assert "ok    logs: not used" in out
        assert "ok    metrics: not used" in out
        status, out = doctor("--timeout=30", **env, **EVERY_SIGNAL)
        assert (status, out.count(" took a request in ")) == (0, 3), out
        elsewhere = f"http://127.0.0.1:{refusing_port}"
        env["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] = elsewhere
        status, out = doctor("--timeout=30", **env, **EVERY_SIGNAL)
    assert (status, out.count(" took a request in ")) == (1, 2), out
    (line,) = (line for line in out.splitlines() if "  metrics: " in line)
    refused = rf"  FAIL  metrics: \S*127.0.0.1:{refusing_port}\S* \({protocol}\) "
    assert re.match(refused + "does not take metrics: Connection refused$", line)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_all_signals_have_one_deadline(protocol: Protocol, silent_port: int) -> None:
    """They wait for a silent collector at the same time, not one after the other."""
    url = f"http://127.0.0.1:{silent_port}"
    config = TracingConfig(
        service_name="s",
        collector_url=url,
        collector_protocol=protocol,
        logs=True,
        metrics=True,
    )
    began = time.monotonic()
    answers = probing.probe_all(resolve(config), (TRACES, LOGS, METRICS), 3.0)
    assert time.monotonic() - began < 8.0  # one after the other: 9
    assert [(name, answers[name].taken) for name in ("traces", "logs", "metrics")] == [
        ("traces", False),
        ("logs", False),
        ("metrics", False),
    ]
    assert "does not take log records: no answer within" in answers["logs"].text


@pytest.mark.promise("CORE-122")
def test_a_library_that_traces_itself_is_known_by_the_table(
    doctor: Doctor, tmp_path: Path
) -> None:
    """From the version on that does, unless a variable switches it off; one that makes metrics alone traces nothing."""
    for name, number in (("anthropic", "2.1"), ("mcp", "1.9"), ("elasticsearch", "9")):
        add_distribution(tmp_path, name, version=number)
    add_distribution(tmp_path, "grpcio-observability", "opentelemetry-api")
    off = {"OTEL_PYTHON_INSTRUMENTATION_ELASTICSEARCH_ENABLED": "false"}
    found = {"PYTHONPATH": str(tmp_path), "OTEL_TRACES_EXPORTER": "none"}
    _, out = doctor(**found, **off)
    assert "  anthropic 2.1: itself" in out
    assert "  mcp 1.9" not in out
    assert "  grpcio-observability" not in out
    assert "  elasticsearch 9: itself" not in out
    _, out = doctor(**found)
    assert "  elasticsearch 9: itself" in out


@pytest.mark.soak
@pytest.mark.promise("CORE-71")
@pytest.mark.parametrize("collector", ["refusing", "silent"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_collector_down(doctor: Doctor, request, collector: str, protocol: str) -> None:
    """Status 1, in bounded time, with the reason where there is one."""
    port = request.getfixturevalue(f"{collector}_port")
    began = time.monotonic()
    status, out = doctor(
        "--timeout=3",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
    )
    assert time.monotonic() - began < 30
    assert status == 1
    assert (
        f"FAIL  collector: http://127.0.0.1:{port} ({protocol}) does not take spans: "
        in out
    )
    assert collector == "silent" or any(
        word in out.lower() for word in ("refused", "unavailable")
    )
    assert out.endswith("\nnot healthy: 1 failed\n")


@pytest.mark.promise("CORE-71")
def test_the_wrong_protocol_is_recognised(doctor: Doctor, otlp_sink) -> None:
    """An HTTP receiver asked by gRPC: the fix is named."""
    status, out = doctor(
        "--timeout=30", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{otlp_sink.port}"
    )
    assert status == 1
    assert "it speaks http: set collector_protocol='http'" in out


@pytest.mark.promise("CORE-71")
def test_version_conflict(doctor: Doctor, tmp_path: Path) -> None:
    """Contrib's pins among themselves, a missing part, and a library outside the `instruments` range."""
    add_distribution(
        tmp_path, "opentelemetry-instrumentation-old", "opentelemetry-api==1.2.3"
    )
    add_distribution(
        tmp_path, "opentelemetry-instrumentation-partial", "opentelemetry-nowhere==0.1"
    )
    add_distribution(tmp_path, "obs-old", "pytest<2; extra == 'instruments'")
    status, out = doctor(OTEL_TRACES_EXPORTER="none")
    assert status == 1
    assert (
        "opentelemetry-instrumentation-old 1.0 needs opentelemetry-api==1.2.3, but "
        in out
    )
    assert (
        "opentelemetry-instrumentation-partial 1.0 needs opentelemetry-nowhere==0.1, which is not installed"
        in out
    )
    assert f"warn  versions: pytest {pytest.__version__} is outside <2" in out
    assert "not healthy: 2 failed" in out


DOUBLE = """
from obs_core import TracingConfig, setup_tracing
from obs_core.integration import instrument_once

class LibInstrumentor:
    is_instrumented_by_opentelemetry = True

def instrument_lib():
    return instrument_once("lib", lambda: lambda: None)

setup_tracing(TracingConfig(service_name="double"))
instrument_lib()
"""


@pytest.mark.promise("CORE-71")
@pytest.mark.parametrize("is_built_on", [False, True])
def test_double_instrumentation(
    doctor: Doctor, tmp_path: Path, is_built_on: bool
) -> None:
    """Both active for one library is a failure, unless ours drives contrib's."""
    contrib = "opentelemetry-instrumentation-lib"
    (tmp_path / "shop.py").write_text(DOUBLE)
    add_distribution(
        tmp_path,
        contrib,
        entry_points="[opentelemetry_instrumentor]\nlib = shop:LibInstrumentor\n",
    )
    ours = "[obs_core.instrumentors]\nlib = shop:instrument_lib\n"
    add_distribution(
        tmp_path, "obs-lib", f"{contrib}>=1" if is_built_on else "", entry_points=ours
    )
    status, out = doctor("--app", "shop", OTEL_TRACES_EXPORTER="none")
    assert f"lib: obs-lib 1.0 and {contrib} 1.0" in out
    assert (
        "lib is instrumented twice, by obs-lib and by opentelemetry-instrumentation-lib"
        in out
    ) is not is_built_on
    assert status == (0 if is_built_on else 1)


JOINED = """
import logging
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.{protocol}.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import {processor}
from obs_core import TracingConfig, setup_tracing

logging.getLogger("obs_core").setLevel("ERROR")  # the same is logged at set-up
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor({processor}(OTLPSpanExporter(endpoint="{theirs}")))
trace.set_tracer_provider(provider)
setup_tracing(TracingConfig(service_name="s", collector_url="{ours}"), on_existing_provider="{mode}")
"""


@pytest.mark.promise("CORE-71", "CORE-03")
@pytest.mark.parametrize(
    ("protocol", "processor", "theirs", "mode", "is_doubled"),
    [
        (
            "http",
            "BatchSpanProcessor",
            "http://localhost:{port}/v1/traces",
            "attach",
            True,
        ),
        ("grpc", "SimpleSpanProcessor", "http://127.0.0.1:{port}", "attach", True),
        (
            "http",
            "BatchSpanProcessor",
            "http://elsewhere:{port}/v1/traces",
            "attach",
            False,
        ),
        (
            "http",
            "BatchSpanProcessor",
            "http://localhost:{port}/v1/traces",
            "skip",
            False,
        ),
    ],
)
def test_a_joined_provider_that_exports_to_the_same_collector(
    doctor: Doctor,
    tmp_path: Path,
    otlp_sink,
    protocol: str,
    processor: str,
    theirs: str,
    mode: str,
    is_doubled: bool,
) -> None:
    """As under ``opentelemetry-instrument``: each span would arrive twice."""
    theirs = theirs.format(port=otlp_sink.port)
    app = JOINED.format(
        protocol=protocol,
        processor=processor,
        theirs=theirs,
        ours=otlp_sink.url,
        mode=mode,
    )
    (tmp_path / "shop.py").write_text(app)
    _, out = doctor("--app=shop", "--timeout=30")
    assert (
        "warn  provider: each span is exported twice: the TracerProvider that was there"
        in out
    ) is is_doubled
    assert (f"exports to 127.0.0.1:{otlp_sink.port} too" in out) is is_doubled


@pytest.mark.promise("CORE-71", "CORE-24")
def test_prefork_with_grpc(doctor: Doctor, grpc_sink) -> None:
    """A server that forks is installed, and gRPC was told not to survive it."""
    status, out = doctor(
        "--timeout=30",
        OTEL_EXPORTER_OTLP_ENDPOINT=grpc_sink.url,
        GRPC_ENABLE_FORK_SUPPORT="0",
    )
    assert status == 1
    assert (
        "FAIL  fork: GRPC_ENABLE_FORK_SUPPORT=0 leaves forked children unable to use gRPC"
        in out
    )
    assert "(installed, and forks: gunicorn" in out


@pytest.mark.promise("CORE-71")
@pytest.mark.parametrize("name", ["uwsgi", "pyuwsgi"])
def test_uwsgi_without_threads(doctor: Doctor, tmp_path: Path, name: str) -> None:
    """Before 2.0.27, which made the option a stub, the export thread would never run."""
    warning = f"warn  fork: {name} 2.0.26 runs no Python threads unless started with --enable-threads"
    add_distribution(tmp_path, name, version="2.0.26")
    assert warning in doctor(OTEL_TRACES_EXPORTER="none")[1]
    assert (
        warning not in doctor(OTEL_TRACES_EXPORTER="none", UWSGI_ENABLE_THREADS="1")[1]
    )


@pytest.mark.promise("CORE-71")
@pytest.mark.parametrize("name", ["uwsgi", "pyuwsgi"])
def test_uwsgi_with_threads(doctor: Doctor, tmp_path: Path, name: str) -> None:
    """Since 2.0.27 it always runs them."""
    add_distribution(tmp_path, name, version="2.0.27")
    assert "no Python threads" not in doctor(OTEL_TRACES_EXPORTER="none")[1]


@pytest.mark.promise("CORE-71")
def test_the_settings_are_the_applications(
    doctor: Doctor, tmp_path: Path, otlp_sink
) -> None:
    """What it gives in code, with secrets masked; an application that sets nothing up, or cannot be imported, fails."""
    (tmp_path / "shop.py").write_text(
        "from obs_core import TracingConfig, setup_tracing\n"
        "class factory: app = object()\n"
        f"setup_tracing(TracingConfig(service_name='shop', collector_url='{otlp_sink.url}', headers={{'x-key': 'hunter2'}}))\n"
    )
    status, out = doctor("--app=shop:factory.app", "--timeout=30")
    assert status == 0, out
    assert "'shop'  (argument)" in out
    assert "hunter2" not in out
    (tmp_path / "bare.py").write_text("app = object()\n")
    assert (
        "bare:app does not call setup_tracing"
        in doctor("--app=bare:app", OTEL_TRACES_EXPORTER="none")[1]
    )
    status, out = doctor("--app=shop:nowhere")
    assert (status, "shop:nowhere cannot be imported: AttributeError" in out) == (
        1,
        True,
    )


@pytest.mark.promise("CORE-71", "CORE-09")
def test_what_is_wrong_in_the_environment_is_a_finding(doctor: Doctor) -> None:
    """The same line as the warning of the service."""
    status, out = doctor(OTEL_TRACES_EXPORTER="none", OTEL_BSP_MAX_QUEUE_SIZE="many")
    assert status == 1
    assert (
        "FAIL  settings: environment: OTEL_BSP_MAX_QUEUE_SIZE='many' is not valid"
        in out
    )
