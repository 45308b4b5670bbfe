"""docs/backends.md: what each backend's panes need is on the spans that real calls export, and a test for each row."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from obs_core.testing import OtlpSink, SinkSpan

from tests.services import free_port, wait_for_port
from tests.signoz_panes import database_call, external_call, http_host, status_code

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
Spans = list[SinkSpan]
Export = Callable[..., Spans]

#: A process that imports every library takes its time where others run too.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """Moto's server on a free loopback port."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    try:
        wait_for_port(port, 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def export(redis_url: str, postgres_url: str, moto_url: str) -> Export:
    """Return a function that makes one call of every kind for a backend, and returns the exported spans."""
    known: dict[str, Spans] = {}
    told = {
        "REDIS_URL": redis_url,
        "DATABASE_URL": postgres_url.replace("postgresql://", "postgresql+psycopg://"),
        "AWS_URL": moto_url,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "example",
        "AWS_SECRET_ACCESS_KEY": "example",
        "OTEL_SERVICE_NAME": "every",
        "ENVIRONMENT": "production",
    }

    def run(backend: str, **more: str) -> Spans:
        with OtlpSink() as sink:
            place = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": sink.url}
            subprocess.run(
                [sys.executable, str(ROOT / "tests" / "every_call.py")],
                env={
                    **os.environ,
                    **told,
                    **place,
                    "OBS_CORE_BACKEND": backend,
                    **more,
                },
                check=True,
                timeout=180,
            )
            return sink.spans

    def export(backend: str, **more: str) -> Spans:
        key = f"{backend} {more}"
        if key not in known:
            known[key] = run(backend, **more)
        return known[key]

    return export


def below(spans: Spans, name: str, kind: str = "CLIENT") -> Spans:
    """Return the spans of a kind in the trace of the call `name`."""
    [call] = [span for span in spans if span.name == name and not span.parent_id]
    return [s for s in spans if s.trace_id == call.trace_id and s.kind == kind]


Row = Callable[[Export], None]
ROWS: dict[str, Row] = {}


def row(pane: str) -> Callable[[Row], Row]:
    """Register the check of a row of the page."""

    def register(check: Row) -> Row:
        ROWS[pane] = check
        return check

    return register


@row("SigNoz · Services")
def services(export: Export) -> None:
    spans = export("signoz")
    entries = {(s.kind, s.name) for s in spans if s.kind in ("SERVER", "CONSUMER")}
    assert ("SERVER", "GET /orders/{order}") in entries
    assert ("SERVER", "every.Greeter/Greet") in entries
    assert ("CONSUMER", "process orders.ship") in entries
    assert {span.service for span in spans} == {"every"}


@row("SigNoz · Environment")
def environment(export: Export) -> None:
    for backend, former in (("signoz", "production"), ("none", None)):
        [resource] = {id(s.resource): s.resource for s in export(backend)[:1]}.values()
        assert resource["deployment.environment.name"] == "production"
        assert resource.get("deployment.environment") == former


@row("SigNoz · Database Calls")
def database_calls(export: Export) -> None:
    spans = export("signoz")
    [postgresql] = below(spans, "postgresql")
    system, name = database_call(postgresql) or ("", "")
    assert (system, bool(name)) == ("postgresql", True)
    assert [*map(database_call, below(spans, "sqlite"))] == [("sqlite", ":memory:")]
    assert [*map(database_call, below(spans, "redis_"))] == [("redis", "0")] * 2
    assert [*map(database_call, below(spans, "dynamodb"))] == [("dynamodb", "")] * 3
    others = [*below(spans, "http"), *below(spans, "rpc"), *below(spans, "s3")]
    assert [*map(database_call, others)] == [None] * 4
    # and with the stable names alone the pane is empty
    assert not any(map(database_call, export("none")))


@row("SigNoz · External Calls")
def external_calls(export: Export) -> None:
    spans = export("signoz")
    for span in below(spans, "http"):
        port = span.attributes["server.port"]
        assert external_call(span) == f"localhost:{port}"
    assert [*map(external_call, below(spans, "web"))] == ["shop.test:8000"]
    assert [*map(external_call, below(spans, "rpc"))] == ["every.Greeter/Greet"]
    assert [*map(external_call, below(spans, "s3"))] == ["S3/ListBuckets"]
    calls = [external_call(span) for span in below(spans, "dynamodb")]
    tables = ("CreateTable", "PutItem", "DeleteTable")
    assert calls == [f"DynamoDB/{name}" for name in tables]
    # of a number, SigNoz shows no port
    assert {*map(external_call, below(export("none"), "http"))} == {"localhost:"}


@row("SigNoz · External Calls, without databases")
def no_external_calls(export: Export) -> None:
    calls = ("postgresql", "sqlite", "redis_")
    for span in (s for call in calls for s in below(export("signoz"), call)):
        assert external_call(span) is None
    kept = [s.attributes for s in below(export("signoz"), "redis_")]
    asked = [s.attributes for s in below(export("none"), "redis_")]
    for name in ("address", "port"):
        moved = [each[f"obs.db.server.{name}"] for each in kept]
        assert moved == [each[f"server.{name}"] for each in asked]
    stable = [external_call(s) for s in below(export("none"), "redis_")]
    assert all(address and address.endswith(":") for address in stable)


@row("SigNoz · Service Map")
def service_map(export: Export) -> None:
    spans = export("signoz")
    [publication] = below(spans, "celery", "PRODUCER")
    assert publication.attributes["messaging.system"] == "memory"
    systems = {s.attributes.get("db.system") for s in spans if s.kind != "SERVER"}
    assert systems == {None, "postgresql", "sqlite", "redis", "dynamodb"}
    for call in ("rpc", "web"):
        [client], [server] = below(spans, call), below(spans, call, "SERVER")
        assert server.parent_id == client.span_id


@row("SigNoz · External APIs")
def external_apis(export: Export) -> None:
    for span in below(export("signoz"), "http"):
        assert span.attributes["url.full"].startswith("http://localhost:")
        assert http_host(span) == external_call(span)
        assert status_code(span) == "200"


@row("SigNoz · Messaging Queues")
def messaging_queues(export: Export) -> None:
    spans = export("signoz")
    for kind in ("PRODUCER", "CONSUMER"):
        [span] = below(spans, "celery", kind)
        assert span.attributes["celery.task_name"] == "orders.ship"
        assert span.attributes["messaging.destination.name"] == "celery"
        assert span.attributes["messaging.system"] == "memory"


@row("SigNoz · Celery")
def celery_graphs(export: Export) -> None:
    [attempt] = below(export("signoz"), "celery", "CONSUMER")
    assert attempt.attributes["celery.state"] == "SUCCESS"
    assert attempt.attributes["celery.hostname"]
    assert attempt.attributes["celery.task_name"] == "orders.ship"


@row("SigNoz · Trace, categories")
def categories(export: Export) -> None:
    spans = export("signoz")
    wanted = {
        "postgresql": "db.system",
        "http": "http.method",
        "web": "http.method",
        "llm": "gen_ai.request.model",
    }
    for call, attribute in wanted.items():
        assert all(attribute in s.attributes for s in below(spans, call))
    [request] = below(spans, "web", "SERVER")
    assert request.attributes["http.method"] == "GET"
    [publication] = below(spans, "celery", "PRODUCER")
    assert "messaging.system" in publication.attributes


@row("SigNoz · AI Observability")
def ai_observability(export: Export) -> None:
    [chat] = below(export("signoz"), "llm")
    asked = {
        name: chat.attributes[name] for name in chat.attributes if "gen_ai" in name
    }
    assert asked["gen_ai.system"] == "openai"
    assert asked["gen_ai.request.model"] == "gpt-5"
    assert asked["gen_ai.usage.input_tokens"] == 3
    assert asked["gen_ai.usage.output_tokens"] == 1
    first = asked["gen_ai.response.time_to_first_chunk"]
    assert asked["gen_ai.server.ttft"] == first > 0


@row("SigNoz · Response status")
def response_status(export: Export) -> None:
    newer = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http,database,rpc"}
    for spans in (export("signoz"), export("signoz", **newer)):
        for kind in ("CLIENT", "SERVER"):
            [call] = below(spans, "rpc", kind)
            assert status_code(call) == "0"
        [client] = below(spans, "rpc")
        assert external_call(client) == "every.Greeter/Greet"


@row("Jaeger · System Architecture")
def architecture(export: Export) -> None:
    spans = export("none")
    ids = {span.span_id: span for span in spans}
    for call, kind in (("rpc", "SERVER"), ("web", "SERVER"), ("celery", "CONSUMER")):
        [served] = below(spans, call, kind)
        assert ids[served.parent_id].kind in ("CLIENT", "PRODUCER")
        assert served.service == "every"


@row("Jaeger · Monitor")
def monitor(export: Export) -> None:
    for span in export("none"):
        assert span.service == "every"
        assert span.name
        assert span.kind != "UNSPECIFIED"


@row("Tempo · Service graph, services")
def graph_of_services(export: Export) -> None:
    spans = export("none")
    pairs = {"rpc": ("CLIENT", "SERVER"), "celery": ("PRODUCER", "CONSUMER")}
    for call, (caller, called) in pairs.items():
        [client], [server] = below(spans, call, caller), below(spans, call, called)
        assert server.parent_id == client.span_id


@row("Tempo · Service graph, databases")
def graph_of_databases(export: Export) -> None:
    spans = export("none")
    for span in below(spans, "redis_"):
        assert span.attributes["server.address"]
    calls = ("redis_", "postgresql", "sqlite")
    for span in (s for call in calls for s in below(spans, call)):
        assert span.attributes["db.namespace"]
    assert {s.attributes["db.system.name"] for s in below(spans, "dynamodb")} == {
        "aws.dynamodb"
    }


@row("Tempo · Service graph, other services")
def graph_of_others(export: Export) -> None:
    for span in below(export("none"), "http"):
        assert span.attributes["server.address"] == "localhost"
        assert not {"peer.service", "db.name", "db.system"} & span.attributes.keys()


@row("Grafana · Service graph view")
def service_graph_view(export: Export) -> None:
    monitor(export)
    assert {s.kind for s in export("none")} >= {"SERVER", "CLIENT", "CONSUMER"}


@row("Datadog · Operation and type, HTTP and RPC")
def datadog_operations(export: Export) -> None:
    spans = export("none")
    for span in [*below(spans, "web"), *below(spans, "web", "SERVER")]:
        assert span.attributes["http.request.method"] == "GET"
    [server] = below(spans, "web", "SERVER")
    assert server.attributes["http.route"] == "/orders/{order}"
    [call] = below(spans, "rpc")
    assert call.attributes["rpc.system"] == "grpc"
    [listing] = below(spans, "s3")
    assert listing.attributes["rpc.system"] == "aws-api"
    assert listing.attributes["rpc.service"] == "S3"


@row("Datadog · Operation and type, databases")
def datadog_databases(export: Export) -> None:
    [stable] = below(export("none"), "postgresql")
    assert stable.attributes["db.system.name"] == "postgresql"
    assert "db.system" not in stable.attributes
    both = export("none", OTEL_SEMCONV_STABILITY_OPT_IN="http,database/dup")
    systems = [
        span.attributes["db.system"]
        for call in ("postgresql", "sqlite", "redis_", "dynamodb")
        for span in below(both, call)
    ]
    assert systems == ["postgresql", "sqlite", *["redis"] * 2, *["dynamodb"] * 3]


@row("Datadog · Inferred services")
def datadog_peers(export: Export) -> None:
    spans = export("none")
    [command, _], [call] = below(spans, "redis_"), below(spans, "rpc")
    assert command.attributes["server.address"]
    assert command.attributes["db.namespace"] == "0"
    assert call.attributes["rpc.service"] == "every.Greeter"
    [publication] = below(spans, "celery", "PRODUCER")
    assert publication.attributes["messaging.destination.name"] == "celery"


@row("Datadog · Environment")
def datadog_environment(export: Export) -> None:
    [span, *_] = export("none")
    assert span.resource["deployment.environment.name"] == "production"


@pytest.mark.promise("CORE-110")
@pytest.mark.parametrize("pane", ROWS)
def test_a_pane_has_what_it_needs(pane: str, export: Export) -> None:
    """The attributes that its source asks for, on the spans that real calls export."""
    ROWS[pane](export)


@pytest.mark.promise("CORE-110")
def test_each_row_of_the_page_has_a_test() -> None:
    """The page and this file have the same panes, in the same order."""
    tables = re.findall(
        r"^\| ((?:SigNoz|Jaeger|Tempo|Grafana|Datadog) · [^|]+?) \|", PAGE, re.MULTILINE
    )
    assert tables == list(ROWS)


@pytest.mark.promise("CORE-110")
def test_nothing_more_is_added(export: Export) -> None:
    """Other spans, and the stable names of these, are as without a backend; the addresses of databases are moved."""
    added = {
        *("db.system", "db.name", "obs.db.server.address", "obs.db.server.port"),
        *("http.method", "http.host", "celery.task_name"),
        *("gen_ai.system", "gen_ai.server.ttft"),
    }
    moved = {"server.address", "server.port"}

    def by_name(backend: str) -> Spans:
        return sorted(export(backend), key=lambda span: (span.name, span.kind))

    for one, other in zip(by_name("signoz"), by_name("none"), strict=True):
        assert (one.name, one.kind) == (other.name, other.kind)
        assert one.attributes.keys() - other.attributes.keys() <= added
        assert other.attributes.keys() - one.attributes.keys() <= moved
