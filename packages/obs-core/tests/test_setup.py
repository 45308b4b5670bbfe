"""`setup_tracing`, in processes of their own: it changes global state for good."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SETUP = "setup_tracing(TracingConfig(service_name='s', collector_url='{url}'{more}))"


@pytest.mark.promise("CORE-02")
def test_a_second_setup_with_the_same_settings_is_the_first(run, otlp_sink) -> None:
    """Same manager, no new thread, each span exported once."""
    run(
        f"""
        config = TracingConfig(service_name="s", collector_url="{otlp_sink.url}")
        first, _ = setup_tracing(config)
        spans(1)
        threads = set(threading.enumerate())
        second, _ = setup_tracing(TracingConfig(service_name="s", collector_url="{otlp_sink.url}"), instrument="auto")
        assert second is first
        assert set(threading.enumerate()) == threads
        spans(1)
        """
    )
    assert len(otlp_sink.wait_for(2)) == 2


@pytest.mark.promise("CORE-02")
def test_another_setup_is_an_error_that_names_the_difference(run, otlp_sink) -> None:
    """Or `replace=True`: the first is flushed and stopped, and the tracers that exist go on with the second."""
    run(
        f"""
        from obs_core.exceptions import AlreadyConfiguredError
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        first, _ = setup_tracing(TracingConfig(service_name="one", collector_url="{otlp_sink.url}"))
        spans(1, "first")
        two = TracingConfig(service_name="two", sampling_rate=1.0, collector_url="{otlp_sink.url}", environment="e")
        for wrong in (lambda: setup_tracing(two),
                      lambda: setup_tracing(TracingConfig(service_name="one", collector_url="{otlp_sink.url}"),
                                            span_exporter=InMemorySpanExporter())):
            try:
                wrong()
            except AlreadyConfiguredError as error:
                print(error)
        second, _ = setup_tracing(two, replace=True)
        assert second is not first and first.status.state == "stopped"
        spans(1, "second")
        trace.get_tracer("new").start_span("third").end()
        """
    )
    arrived = {span.name: span.service for span in otlp_sink.wait_for(3)}
    assert arrived == {"first": "one", "second": "two", "third": "two"}


@pytest.mark.promise("CORE-03")
def test_a_foreign_provider_is_joined_skipped_or_refused(run, otlp_sink) -> None:
    """Its own processors go on; ours are beside them, or nothing of ours is."""
    done = run(
        f"""
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from obs_core.exceptions import AlreadyConfiguredError
        theirs, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(theirs))
        trace.set_tracer_provider(provider)
        config = TracingConfig(service_name="s", collector_url="{otlp_sink.url}")
        try:
            setup_tracing(config, on_existing_provider="fail")
        except AlreadyConfiguredError as error:
            print(error)
        skipped, _ = setup_tracing(config, on_existing_provider="skip")
        assert skipped.status.state == "skipped", skipped.status
        spans(1, "skipped")
        manager, _ = setup_tracing(config, replace=True)
        assert trace.get_tracer_provider() is provider
        spans(1, "both")
        assert manager.flush(20)
        assert manager.stats().exported == 1
        assert [span.name for span in theirs.get_finished_spans()] == ["skipped", "both"]
        """
    )
    assert (
        "opentelemetry.sdk.trace.TracerProvider is the global TracerProvider already"
        in done.stdout
    )
    assert [span.name for span in otlp_sink.wait_for(1)] == ["both"]


@pytest.mark.promise("CORE-03")
def test_a_provider_that_is_not_the_sdks_is_reported(run) -> None:
    """Nothing can be added to it: a warning and a degraded status, not a silence."""
    done = run(
        """
        class Provider(trace.NoOpTracerProvider): pass
        trace.set_tracer_provider(Provider())
        manager, _ = setup_tracing(TracingConfig(service_name="s"))
        assert manager.status.state == "degraded"
        """
    )
    assert "not the SDK's" in done.lines("obs_core")[0]


@pytest.mark.promise("CORE-04")
def test_sampling_is_right_and_the_parents_decision_wins(run) -> None:
    """10,000 roots at 0.1 within three sigma; a sampled parent keeps its children, another does not; 0.0 records nothing."""
    run(
        """
        import random
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context
        random.seed(1)  # trace ids come from it; unseeded, one run in 370 lies beyond three sigma
        def parent(sampled):
            return set_span_in_context(NonRecordingSpan(SpanContext(1, 2, True, TraceFlags(sampled))))
        for rate in (0.1, 0.0):
            config = TracingConfig(service_name="s", sampling_rate=rate)
            manager, _ = setup_tracing(config, span_exporter=InMemorySpanExporter(), replace=True)
            spans(10_000)
            started = manager.stats().started
            assert abs(started - rate * 10_000) <= 3 * (10_000 * rate * (1 - rate)) ** 0.5, started
            for _ in range(100):
                tracer.start_span("kept", context=parent(1)).end()
                tracer.start_span("left out", context=parent(0)).end()
            assert manager.stats().started == started + 100
        """
    )


@pytest.mark.promise("CORE-07")
def test_disabled_means_no_thread_no_socket_and_every_call_works(
    run, silent_port
) -> None:
    """``OTEL_SDK_DISABLED=true`` turns it off without a change in code."""
    run(
        """
        import socket
        def no_socket(*_): raise AssertionError("a socket was made")
        socket.socket.connect = socket.create_connection = no_socket
        manager, middleware = setup_tracing(TracingConfig(service_name="s"), instrument="auto")
        assert threading.active_count() == 1
        with tracer.start_as_current_span("span") as span:
            assert not span.is_recording()
        assert manager.status.state == "disabled"
        assert manager.flush() and manager.stats().started == 0
        assert manager.describe()["disabled"] == (True, "OTEL_SDK_DISABLED")
        manager.flush_on_sigterm(); manager.flush_in_children()
        manager.shutdown()
        assert not any(name.startswith("opentelemetry.exporter") for name in sys.modules)
        """,
        OTEL_SDK_DISABLED="true",
    )


@pytest.mark.promise("CORE-08")
def test_the_resource_says_who_the_process_is(run, otlp_sink) -> None:
    """Service, host, process, distro, Kubernetes' downward API; ``telemetry.sdk.*`` stays the SDK's."""
    run(
        f"""
        setup_tracing(TracingConfig(
            service_name="s", service_version="1", service_namespace="n", environment="e", collector_url="{otlp_sink.url}",
            resource_attributes={{"team": "t", "telemetry.sdk.name": "forged", "service.name": "not this", "host.name": "h"}}))
        spans(1)
        """,
        POD_NAME="pod-1",
        K8S_NAMESPACE="ns",
        NODE_NAME="node-1",
        OTEL_RESOURCE_ATTRIBUTES="telemetry.sdk.language=cobol,zone=z",
    )
    resource = dict(otlp_sink.wait_for(1)[0].resource)
    wanted = {
        "service.name": "s", "service.version": "1", "service.namespace": "n", "deployment.environment.name": "e", "team": "t",
        "host.name": "h", "zone": "z", "telemetry.sdk.name": "opentelemetry", "telemetry.sdk.language": "python",
        "telemetry.distro.name": "obs-core", "k8s.pod.name": "pod-1", "k8s.namespace.name": "ns", "k8s.node.name": "node-1",
        "process.runtime.name": "cpython",
    }  # fmt: skip
    assert {key: resource.get(key) for key in wanted} == wanted
    assert re.fullmatch(r"[0-9a-f-]{36}", resource["service.instance.id"])
    assert resource["telemetry.sdk.version"][0] == "1"
    assert isinstance(resource["process.pid"], int)
    assert not any("command" in key for key in resource)


@pytest.mark.promise("CORE-08")
@pytest.mark.parametrize(
    "line",
    [
        "0::/docker/{id}",
        "1:name=systemd:/kubepods/besteffort/pod1/{id}",
        "0::/system.slice/docker-{id}.scope",
        "612 600 254:1 /docker/containers/{id}/hostname /etc/hostname rw",
    ],
)
def test_the_container_id_is_found_in_every_cgroup_layout(
    tmp_path: Path, monkeypatch, line: str
) -> None:
    """Cgroup v1, v2 and systemd."""
    from obs_core._provider import detectors

    wanted = "0123456789abcdef" * 4
    (tmp_path / "cgroup").write_text("0::/\n" + line.format(id=wanted))
    monkeypatch.setattr(
        detectors, "_CONTAINER_FILES", (tmp_path / "missing", tmp_path / "cgroup")
    )
    assert detectors._container() == {"container.id": wanted}


@pytest.mark.promise("CORE-09")
def test_what_the_environment_gets_wrong_is_a_warning_each_and_a_degraded_status(
    run,
) -> None:
    """A value, a detector, an exporter that cannot be built; the application runs on."""
    done = run(
        """
        manager, _ = setup_tracing(TracingConfig(service_name="s"))
        spans(1)
        assert manager.status.state == "degraded"
        assert len(manager.status.problems) == 3, manager.status
        for name in ("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "OTEL_EXPORTER_OTLP_COMPRESSION"):
            try:
                setup_tracing(TracingConfig(service_name="s", strict=True), replace=True)
            except ValueError as error:
                print("strict:", error)
            del os.environ[name]
        """,
        OTEL_BSP_MAX_QUEUE_SIZE="many",
        OTEL_EXPERIMENTAL_RESOURCE_DETECTORS="otel,nowhere",
        OTEL_EXPORTER_OTLP_COMPRESSION="zip",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
    )
    warnings = done.lines("obs_core")
    assert len(warnings) == 3, done.stderr
    assert "OTEL_BSP_MAX_QUEUE_SIZE='many'" in warnings[0]
    assert "resource detector nowhere failed" in warnings[1]
    assert "cannot be built" in warnings[2]
    strict = done.stdout.splitlines()
    assert len(strict) == 3, strict
    assert strict[0].startswith("strict: environment: OTEL_BSP_MAX_QUEUE_SIZE")
    assert "resource detector nowhere failed" in strict[1]
    assert "cannot be built" in strict[2]


def test_a_processor_that_raises_is_passed_over(run, otlp_sink) -> None:
    """The user's own processor fails at every step; the spans arrive."""
    done = run(
        f"""
        from opentelemetry.sdk.trace import SpanProcessor
        class Broken(SpanProcessor):
            def fail(self, *_, **__): raise RuntimeError("mine")
            on_start = on_end = _on_ending = shutdown = force_flush = fail
        setup_tracing(TracingConfig(service_name="s", collector_url="{otlp_sink.url}"), span_processors=[Broken()])
        spans(2)
        assert trace.get_tracer_provider().force_flush() is False
        """
    )
    assert len(otlp_sink.wait_for(2)) == 2
    assert sum("Broken.on_end failed" in line for line in done.lines("obs_core")) == 1


def test_grpc_headers_reach_the_collector(run, grpc_sink) -> None:
    """Lower-case, as gRPC wants them."""
    run(
        f"""
        setup_tracing(TracingConfig(service_name="s", collector_url="{grpc_sink.url}", headers={{"X-Key": "v"}}))
        spans(1)
        """
    )
    grpc_sink.wait_for(1)
    assert grpc_sink.metadata["x-key"] == "v"


def test_importing_obs_core_imports_api_and_sdk_alone(run) -> None:
    """Exporters, frameworks and pytest come when they are needed."""
    done = run(
        """
        import sys
        import opentelemetry.sdk.trace, opentelemetry.sdk.trace.export
        before = set(sys.modules)
        import obs_core, obs_core.integration
        added = {name.partition(".")[0] for name in set(sys.modules) - before}
        print(sorted(added - set(sys.stdlib_module_names) - {"opentelemetry"}))
        print([name for name in sys.modules if name.startswith("opentelemetry.exporter")])
        import time
        """,
        prelude="",
    )
    assert done.stdout.splitlines() == ["['obs_core']", "[]"]


def test_importing_obs_core_leaves_the_set_up_to_setup_tracing(run) -> None:
    """A process that only decorates pays for no pipeline: it comes with the set-up, and the models with `trace_llm`."""
    done = run(
        """
        import sys
        import obs_core
        loaded = lambda: {name.removeprefix("obs_core._") for name in sys.modules if name.startswith("obs_core._")}
        late = {"setup.build", "provider.provider", "provider.processors", "provider.contained", "provider.resource"}
        late |= {"export.processor", "export.worker", "config.settings", "config.environment"}
        models = {"llm.calls", "llm.responses", "llm.streams", "llm.content"}
        print(sorted(loaded() & (late | models | {"doctor.report"})))
        obs_core.setup_tracing(obs_core.TracingConfig(service_name="s"))
        print(sorted(loaded() & models), "export.worker" in loaded())
        obs_core.trace_llm(provider="p")(lambda: 1)
        print(loaded() >= models)
        import time
        """,
        prelude="",
    )
    assert done.stdout.splitlines() == ["[]", "[] True", "True"]


@pytest.mark.promise("CORE-20")
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_nothing_of_ours_is_imported_at_exit_or_in_a_forked_child(
    run, refusing_port, protocol
) -> None:
    """An import can fail or wait for ever there; what they need comes with the set-up."""
    done = run(
        f"""
        watched = False
        def audit(event, arguments):
            if watched and event == "import" and str(arguments[0]).startswith(("obs_core", "opentelemetry")):
                print("imported", arguments[0], flush=True)
        sys.addaudithook(audit)
        manager, _ = setup_tracing(TracingConfig(service_name="s", collector_url="http://127.0.0.1:{refusing_port}",
                                                 collector_protocol="{protocol}", exit_timeout_s=0.3))
        spans(1)
        watched = True
        child = os.fork()
        if not child:
            spans(1)
            manager.flush()
            manager.stats()
            os._exit(0)
        os.waitpid(child, 0)
        """
    )
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["instrument", "on_existing_provider"])
def test_a_wrong_option_of_setup_raises(name: str) -> None:
    """As every argument does."""
    from obs_core import TracingConfig, setup_tracing
    from obs_core.exceptions import ConfigurationError

    with pytest.raises(ConfigurationError, match=name):
        setup_tracing(TracingConfig(service_name="s"), **{name: "all"})
    with pytest.raises(ConfigurationError, match="config"):
        setup_tracing("s")


MIDDLEWARE = """
class Middleware:
    def __init__(self, app, service_name, correlation, redact, extra="none"):
        self.app, self.name = app, f"{service_name} {extra}"
    async def __call__(self, scope, receive, send):
        async def stamp(message):
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-service", self.name.encode()))
            await send(message)
        await self.app(scope, receive, stamp)
"""


@pytest.mark.promise("CORE-01")
@pytest.mark.parametrize(
    ("way", "name"),
    [
        ("app.add_middleware(*config)", "s none"),
        ("app.add_middleware(config)", "s none"),
        ("cls, kwargs = config; app.add_middleware(cls, **kwargs)", "s none"),
        ("app.add_middleware(*config, extra='more')", "s more"),
    ],
)
def test_every_way_to_add_the_middleware_works(
    run, tmp_path: Path, way: str, name: str
) -> None:
    """With a package that provides it, found when the application is built."""
    (tmp_path / "provider.py").write_text(MIDDLEWARE)
    info = tmp_path / "provider-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: provider\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        "[obs_core.asgi_middleware]\nrequest = provider:Middleware\n"
    )
    done = run(
        f"""
        import asyncio
        from starlette.applications import Starlette
        manager, config = setup_tracing(TracingConfig(service_name="s"))
        app = Starlette()
        {way}
        sent = []
        async def send(message): sent.append(message)
        async def receive(): return {{"type": "http.request"}}
        asyncio.run(app({{"type": "http", "method": "GET", "path": "/", "headers": []}}, receive, send))
        print(dict(sent[0]["headers"])[b"x-service"].decode())
        """,
        OTEL_SDK_DISABLED="true",
    )
    assert done.stdout == name


@pytest.mark.promise("CORE-01")
def test_a_missing_middleware_says_what_to_install(monkeypatch) -> None:
    """obs-core does not depend on obs-http."""
    from obs_core._setup import middleware
    from obs_core.exceptions import MissingDependencyError

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: ())
    with pytest.raises(MissingDependencyError, match=r"pip install '.*obs-http'"):
        middleware.request_tracing_middleware(object())
