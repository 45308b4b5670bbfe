"""Every package gives the same answers to the same questions, since a service uses several of them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any

import pytest
from obs_aws import instrument_boto3
from obs_celery import instrument_celery
from obs_core import (
    CorrelationConfig,
    TracingConfig,
    correlation_scope,
    setup_tracing,
    trace_function,
)
from obs_core.exceptions import AlreadyConfiguredError, ConfigurationError
from obs_core.integration import REDACTED, active_instrumentations
from obs_core.testing import SpanRecorder, record_spans
from obs_db import instrument_redis, instrument_sqlalchemy
from obs_grpc import instrument_grpc_client, instrument_grpc_server
from obs_http import instrument_fastapi, instrument_httpx, instrument_requests
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

SECRET = "078-05-1120"
#: Instruments a library, with what records values switched on, and returns what uses it.
Instrumented = Callable[[ExitStack], Callable[[], object]]


def decorated(stack: ExitStack) -> Callable[[], object]:
    @trace_function(capture_args=("ssn",))
    def look_up(ssn: str) -> None: ...

    return lambda: look_up(SECRET)


def celery(stack: ExitStack) -> Callable[[], object]:
    from celery import Celery

    app = Celery("alike", set_as_current=False)
    app.conf.task_always_eager = True
    stack.callback(instrument_celery(app, capture_args=["*"]).uninstrument)

    @app.task(shared=False)
    def look_up(ssn: str) -> None: ...

    return lambda: look_up.delay(ssn=SECRET)


def sqlalchemy(stack: ExitStack) -> Callable[[], object]:
    from sqlalchemy import create_engine, text

    engine = create_engine("sqlite://")
    stack.callback(engine.dispose)
    stack.callback(instrument_sqlalchemy(engine, capture_parameters=True).uninstrument)

    def look_up() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT :ssn"), {"ssn": SECRET})

    return look_up


def httpx(stack: ExitStack) -> Callable[[], object]:
    import httpx

    answer = httpx.MockTransport(
        lambda request: httpx.Response(200, headers={"x-ssn": SECRET})
    )
    client = stack.enter_context(httpx.Client(transport=answer))
    options = {"capture_request_headers": ["*"], "capture_response_headers": ["*"]}
    stack.callback(instrument_httpx(client, **options).uninstrument)
    return lambda: client.get(f"http://x.test/?ssn={SECRET}", headers={"x-ssn": SECRET})


def requests(stack: ExitStack) -> Callable[[], object]:
    import requests
    from requests.adapters import BaseAdapter

    class Answer(BaseAdapter):
        def send(
            self, request: requests.PreparedRequest, **_: object
        ) -> requests.Response:
            response = requests.Response()
            response.status_code, response.request, response.url = (
                200,
                request,
                request.url,
            )
            response.headers["x-ssn"] = SECRET
            return response

        def close(self) -> None: ...

    session = stack.enter_context(requests.Session())
    session.mount("http://", Answer())
    options = {"capture_request_headers": ["*"], "capture_response_headers": ["*"]}
    stack.callback(instrument_requests(session, **options).uninstrument)
    return lambda: session.get(
        f"http://x.test/?ssn={SECRET}", headers={"x-ssn": SECRET}
    )


def fastapi(stack: ExitStack) -> Callable[[], object]:
    from fastapi import FastAPI, Response
    from starlette.testclient import TestClient

    app = FastAPI()
    handle = instrument_fastapi(
        app, capture_request_headers=["*"], capture_response_headers=["*"]
    )
    stack.callback(handle.uninstrument)

    @app.get("/people")
    def people(response: Response) -> None:
        response.headers["x-ssn"] = SECRET

    client = stack.enter_context(TestClient(app))
    return lambda: client.get(f"/people?ssn={SECRET}", headers={"x-ssn": SECRET})


RECORDING = [decorated, celery, sqlalchemy, httpx, requests, fastapi]
each_recording = pytest.mark.parametrize(
    "instrumented", RECORDING, ids=lambda way: way.__name__
)
CONFIG = TracingConfig(service_name="alike", redact=["*ssn*"])


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[SpanRecorder]:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    with record_spans() as recorder:
        yield recorder


@pytest.mark.promise("CORE-61")
@pytest.mark.parametrize("order", ["before", "after", "replaced"])
@each_recording
def test_the_set_ups_patterns_are_redacted(
    spans: SpanRecorder, instrumented: Instrumented, order: str
) -> None:
    """Whether `setup_tracing` comes before or after, or comes again with ``replace=True``."""
    with ExitStack() as stack:
        if order == "before":
            setup_tracing(CONFIG)
        elif order == "replaced":
            setup_tracing(TracingConfig(service_name="alike"))
        use = instrumented(stack)
        if order != "before":
            setup_tracing(CONFIG, replace=order == "replaced")
        use()
    exported = [span.to_json() for span in spans]
    assert REDACTED in "".join(exported)
    assert [text for text in exported if SECRET in text] == []


@contextmanager
def _instrumented(instrumented: Instrumented) -> Iterator[Callable[[], object]]:
    with ExitStack() as stack:
        yield instrumented(stack)


@each_recording
def test_nothing_is_recorded_where_instrumentation_is_suppressed(
    spans: SpanRecorder, instrumented: Instrumented
) -> None:
    """``suppress_instrumentation()`` silences clients, producers and what they call here."""
    if instrumented is decorated:
        pytest.skip("the decorators are the application's own, and no instrumentation")
    with _instrumented(instrumented) as use, suppress_instrumentation():
        use()
    assert spans.tree() == ""


@each_recording
def test_the_scope_says_name_version_and_schema(
    spans: SpanRecorder, instrumented: Instrumented
) -> None:
    """Of each span that is ours; FastAPI's own tracing makes the spans of its applications."""
    if instrumented is fastapi:
        pytest.skip("the spans are FastAPI's own")
    with _instrumented(instrumented) as use:
        use()
    scopes = {
        span.instrumentation_scope for span in spans if span.instrumentation_scope
    }
    ours = [scope for scope in scopes if scope.name.startswith("obs_")]
    assert ours
    for scope in ours:
        assert scope.version == version(scope.name.replace("_", "-"))
        assert scope.schema_url == "https://opentelemetry.io/schemas/1.36.0"


@each_recording
def test_a_sampler_that_is_not_parent_based_is_asked(
    monkeypatch: pytest.MonkeyPatch, spans: SpanRecorder, instrumented: Instrumented
) -> None:
    """Below an unsampled parent, which only a parent-based sampler follows."""
    foreign, exporter = TracerProvider(sampler=ALWAYS_ON), InMemorySpanExporter()
    foreign.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", foreign)
    unsampled = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(0))
    with (
        _instrumented(instrumented) as use,
        trace.use_span(NonRecordingSpan(unsampled)),
    ):
        use()
    assert exporter.get_finished_spans()


def sends_task(stack: ExitStack) -> str:
    from celery import Celery

    app = stack.enter_context(Celery("alike", broker="memory://", set_as_current=False))
    stack.callback(instrument_celery(app).uninstrument)
    app.send_task("x", queue="alike")
    with app.connection() as connection, connection.SimpleQueue("alike") as queue:
        message = queue.get(timeout=10)
        message.ack()
        return repr(message.headers)


def calls_grpc(stack: ExitStack) -> str:
    import grpc

    seen: list[str] = []

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            seen.append(repr(details.invocation_metadata))
            return grpc.unary_unary_rpc_method_handler(lambda request, context: request)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stack.callback(lambda: server.stop(None).wait())
    channel = stack.enter_context(
        instrument_grpc_client(grpc.insecure_channel(f"127.0.0.1:{port}"))
    )
    channel.unary_unary("/a.B/C")(b"x", timeout=20)
    return seen[0]


def sends_to_sqs(stack: ExitStack) -> str:
    import boto3

    class Stop(Exception): ...

    sent: list[bytes] = []

    def stop(request: Any, **_: object) -> None:
        sent.append(request.body)
        raise Stop

    session = boto3.Session("key", "secret", region_name="eu-west-1")
    stack.callback(instrument_boto3(session).uninstrument)
    client = session.client("sqs", endpoint_url="http://127.0.0.1:1")
    client.meta.events.register("before-send.*", stop)
    with pytest.raises(Stop):
        client.send_message(QueueUrl="http://127.0.0.1:1/q", MessageBody="x")
    return sent[0].decode()


def requests_by_httpx(stack: ExitStack) -> str:
    import httpx

    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(repr(request.headers))
        return httpx.Response(200)

    client = stack.enter_context(httpx.Client(transport=httpx.MockTransport(answer)))
    stack.callback(instrument_httpx(client).uninstrument)
    client.get("http://x.test/")
    return sent[0]


@pytest.mark.promise("CORE-60")
@pytest.mark.parametrize("propagation", [True, False], ids=["propagated", "kept"])
@pytest.mark.parametrize(
    "send",
    [sends_task, calls_grpc, sends_to_sqs, requests_by_httpx],
    ids=lambda way: way.__name__,
)
def test_the_correlation_id_leaves_only_where_it_is_propagated(
    spans: SpanRecorder, send: Callable[[ExitStack], str], propagation: bool
) -> None:
    """In no header and in no baggage; the trace goes on all the same."""
    correlation = CorrelationConfig(propagation=propagation)
    setup_tracing(TracingConfig(service_name="alike", correlation=correlation))
    tracer = trace.get_tracer("test")
    with ExitStack() as stack, correlation_scope("order-4711"):
        with tracer.start_as_current_span("root") as root:
            sent = send(stack)
        trace_id = f"{root.get_span_context().trace_id:032x}"
    assert (trace_id in sent, "order-4711" in sent) == (True, propagation)


#: For all targets: what instruments, and the classes and modules that it changes.
EVERYWHERE: dict[Callable[..., Any], tuple[str, ...]] = {
    instrument_boto3: (
        "botocore.client:BaseClient",
        "aiobotocore.client:AioBaseClient",
    ),
    instrument_celery: ("celery:Celery", "celery.worker.request:Request"),
    instrument_fastapi: (
        "fastapi.applications:FastAPI",
        "starlette.applications:Starlette",
    ),
    instrument_grpc_client: ("grpc:", "grpc.aio:"),
    instrument_grpc_server: ("grpc:", "grpc.aio:"),
    instrument_httpx: ("httpx:Client", "httpx:AsyncClient"),
    instrument_redis: ("redis:Redis", "redis.client:Pipeline", "redis.asyncio:Redis"),
    instrument_requests: ("requests:Session",),
    instrument_sqlalchemy: (),
}
each_instrument = pytest.mark.parametrize(
    "instrument", EVERYWHERE, ids=lambda function: function.__name__
)


@each_instrument
def test_a_second_call_with_other_options_says_so(
    instrument: Callable[..., Any],
) -> None:
    """The same options, or none, return the handle of the first call, which stays in force."""
    first = instrument(tracer_provider=TracerProvider(shutdown_on_exit=False))
    try:
        assert instrument() is first
        with pytest.raises(
            AlreadyConfiguredError, match="with another tracer_provider: give all"
        ):
            instrument(tracer_provider=TracerProvider(shutdown_on_exit=False))
        assert first.is_active
    finally:
        first.uninstrument()


@each_instrument
def test_uninstrumenting_puts_back_exactly_what_was_there(
    instrument: Callable[..., Any],
) -> None:
    """The second time as well."""
    if instrument is instrument_fastapi:
        gc.collect()
        # an application of another test that is gone leaves the wrapper of its class to the next call of uninstrument
        instrument().uninstrument()
    changed = [_named(path) for path in EVERYWHERE[instrument]]
    before = [dict(vars(owner)) for owner in changed]
    for _ in range(2):
        handle = instrument()
        now = [dict(vars(owner)) for owner in changed]
        assert not changed or now != before
        handle.uninstrument()
        assert [dict(vars(owner)) for owner in changed] == before


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    found = import_module(module)
    return getattr(found, name) if name else found


@each_instrument
def test_a_wrong_option_raises_at_once(instrument: Callable[..., Any]) -> None:
    """Nothing is instrumented then."""
    before = active_instrumentations()
    names = set(instrument.__kwdefaults__)
    wrong = next(
        name for name in ("exclude", "exclude_services", "roots") if name in names
    )
    with pytest.raises(ConfigurationError, match=wrong):
        instrument(**{wrong: "no such thing"})
    assert active_instrumentations() == before
