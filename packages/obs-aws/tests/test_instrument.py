"""Which clients are traced, for how long, and at whose side."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import botocore.session
import obs_aws
import pytest
from botocore.exceptions import ClientError
from obs_aws import instrument_boto3, process_message, uninstrument_boto3
from obs_core.exceptions import AlreadyConfiguredError, ConfigurationError
from obs_core.integration import active_instrumentations
from obs_core.testing import SpanRecorder
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from .conftest import CREDENTIALS, MakeClient, aio_client, aio_session


@pytest.mark.promise("AWS-01")
def test_existing_and_future_clients_and_resources(
    make_client: MakeClient, spans: SpanRecorder, aws_url: str, table: str
) -> None:
    """A client and a resource made before, and those made after, give one span a call each."""
    old_client = make_client("dynamodb")
    old_table = (
        boto3.Session()
        .resource("dynamodb", endpoint_url=aws_url, **CREDENTIALS)
        .Table(table)
    )
    handle = instrument_boto3()
    old_client.get_item(TableName=table, Key={"id": {"S": "1"}})
    old_table.get_item(Key={"id": "2"})
    make_client("dynamodb").get_item(TableName=table, Key={"id": {"S": "3"}})
    boto3.Session().resource("dynamodb", endpoint_url=aws_url, **CREDENTIALS).Table(
        table
    ).get_item(Key={"id": "4"})
    handle.uninstrument()
    assert [span.name for span in spans] == ["DynamoDB.GetItem"] * 4


@pytest.mark.promise("AWS-01", "AWS-02")
def test_a_whole_span(
    make_client: MakeClient, traced: SpanRecorder, table: str, aws_url: str
) -> None:
    """Name, kind, status, parent and every attribute of an ordinary call."""
    with trace.get_tracer("test").start_as_current_span("request") as request:
        response = make_client("dynamodb").get_item(
            TableName=table, Key={"id": {"S": "1"}}
        )
    span = traced.one("DynamoDB.GetItem")
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert span.parent == request.get_span_context()
    assert (span.links, span.events) == ((), ())
    assert dict(span.attributes or {}) == {
        "rpc.system": "aws-api",
        "rpc.service": "DynamoDB",
        "rpc.method": "GetItem",
        "cloud.region": "us-east-1",
        "server.address": "127.0.0.1",
        "server.port": int(aws_url.rpartition(":")[2]),
        "db.system.name": "aws.dynamodb",
        "db.operation.name": "GetItem",
        "db.collection.name": table,
        "aws.dynamodb.table_names": (table,),
        "aws.request_id": response["ResponseMetadata"]["RequestId"],
        "http.response.status_code": 200,
    }


@pytest.mark.promise("AWS-01")
@pytest.mark.parametrize("kind", ["boto3", "botocore"])
def test_one_session(
    make_client: MakeClient, spans: SpanRecorder, aws_url: str, table: str, kind: str
) -> None:
    """Only the clients of the instrumented session are traced, those it had already made too."""
    session: Any = boto3.Session() if kind == "boto3" else botocore.session.Session()
    make = session.client if kind == "boto3" else session.create_client
    before = make("dynamodb", endpoint_url=aws_url, **CREDENTIALS)
    handle = instrument_boto3(session)
    after = make("dynamodb", endpoint_url=aws_url, **CREDENTIALS)
    for client in (before, after, make_client("dynamodb")):
        client.describe_table(TableName=table)
    assert [span.name for span in spans] == ["DynamoDB.DescribeTable"] * 2
    handle.uninstrument()
    before.describe_table(TableName=table)
    assert len(spans) == 2


@pytest.mark.promise("AWS-01")
def test_the_options_of_a_session_count_before_the_general_ones(
    make_client: MakeClient, spans: SpanRecorder, name: str
) -> None:
    """A call is traced once, by the instrumentation of its session where it has one."""
    session = boto3.Session()
    handles = [instrument_boto3(), instrument_boto3(session, capture_s3_keys=True)]
    for client in (make_client("s3", session), make_client("s3")):
        with pytest.raises(ClientError):
            client.get_object(Bucket=name, Key="k")
    for handle in handles:
        handle.uninstrument()
    assert [
        (span.attributes or {}).get("aws.s3.key")
        for span in spans.named("S3.GetObject")
    ] == [
        "k",
        None,
    ]


@pytest.mark.promise("AWS-01")
def test_aiobotocore(
    make_client: MakeClient, traced: SpanRecorder, aws_url: str, table: str
) -> None:
    """Asynchronous clients give the same spans, each below the span of its own task."""

    async def request(name: str) -> None:
        with trace.get_tracer("test").start_as_current_span(name):
            async with aio_client("dynamodb", aws_url) as client:
                await client.get_item(TableName=table, Key={"id": {"S": "1"}})
                await client.put_item(TableName=table, Item={"id": {"S": "1"}})

    async def main() -> None:
        await asyncio.gather(request("a"), request("b"))

    asyncio.run(main())
    for name in ("a", "b"):
        below = [
            span.name
            for span in traced
            if span.parent and span.parent.span_id == traced.one(name).context.span_id
        ]
        assert below == ["DynamoDB.GetItem", "DynamoDB.PutItem"]
    assert len(traced.named("DynamoDB.GetItem")) == 2


@pytest.mark.promise("AWS-01")
def test_aioboto3(traced: SpanRecorder, aws_url: str, table: str) -> None:
    """A resource of aioboto3, where that runs on the botocore under test."""
    session = pytest.importorskip("aioboto3").Session()

    async def main() -> None:
        async with session.resource(
            "dynamodb", endpoint_url=aws_url, **CREDENTIALS
        ) as resource:
            await (await resource.Table(table)).put_item(Item={"id": "2"})

    asyncio.run(main())
    assert (traced.one("DynamoDB.PutItem").attributes or {})[
        "aws.dynamodb.table_names"
    ] == (table,)


@pytest.mark.promise("AWS-01")
def test_an_aiobotocore_session_alone(
    spans: SpanRecorder, aws_url: str, table: str
) -> None:
    """`instrument_boto3` takes an aiobotocore session as well."""
    session = aio_session()

    async def describe(session: Any) -> None:
        async with session.create_client(
            "dynamodb", endpoint_url=aws_url, **CREDENTIALS
        ) as client:
            await client.describe_table(TableName=table)

    handle = instrument_boto3(session)
    asyncio.run(describe(session))
    asyncio.run(describe(aio_session()))
    handle.uninstrument()
    assert len(spans.named("DynamoDB.DescribeTable")) == 1


@pytest.mark.promise("AWS-01")
def test_a_cancelled_call_ends_its_span_and_leaves_nothing_current(
    traced: SpanRecorder, table: str
) -> None:
    """Cancelled mid-flight, a call is over: one span, ERROR, and the task's own span is current again."""

    async def never_answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read(-1)
        writer.close()

    async def main() -> None:
        session = aio_session()
        server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with session.create_client(
            "dynamodb", endpoint_url=url, **CREDENTIALS
        ) as client:
            with trace.get_tracer("test").start_as_current_span("request") as request:
                call = client.get_item(TableName=table, Key={"id": {"S": "1"}})
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(call, 0.5)
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_later(0.3, task.cancel)
                with pytest.raises(asyncio.CancelledError):
                    await client.get_item(TableName=table, Key={"id": {"S": "1"}})
                assert trace.get_current_span() is request
        server.close()
        await asyncio.sleep(0)

    asyncio.run(main())
    found = traced.named("DynamoDB.GetItem")
    assert [span.status.status_code for span in found] == [StatusCode.ERROR] * 2
    assert {(span.attributes or {})["error.type"] for span in found} == {
        "asyncio.exceptions.CancelledError"
    }


@pytest.mark.promise("AWS-01")
def test_instrument_twice_is_once_and_uninstrument_is_the_inverse(
    make_client: MakeClient, spans: SpanRecorder, table: str
) -> None:
    """The same handle, one span a call; afterwards the class and the client's handlers are what they were."""
    client = make_client("dynamodb")
    seam = botocore.client.BaseClient.__dict__["_make_api_call"]
    handle = instrument_boto3()
    assert instrument_boto3() is handle
    assert "boto3" in active_instrumentations()
    client.describe_table(TableName=table)
    assert len(spans) == 1
    uninstrument_boto3()
    uninstrument_boto3()
    assert botocore.client.BaseClient.__dict__["_make_api_call"] is seam
    assert not handle.is_active
    assert "obs-aws" not in repr(
        client.meta.events.__dict__.get("_emitter", client.meta.events).__dict__
    )
    client.describe_table(TableName=table)
    assert len(spans) == 1


@pytest.mark.promise("AWS-01")
def test_one_who_wraps_ours_keeps_working(
    make_client: MakeClient,
    spans: SpanRecorder,
    table: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Uninstrumenting below somebody else's wrapper leaves theirs, silent; instrumenting again does not double."""
    client = make_client("dynamodb")
    handle = instrument_boto3()
    ours = botocore.client.BaseClient.__dict__["_make_api_call"]
    monkeypatch.setattr(
        botocore.client.BaseClient, "_make_api_call", lambda *args: ours(*args)
    )
    handle.uninstrument()
    client.describe_table(TableName=table)
    assert len(spans) == 0
    handle = instrument_boto3()
    client.describe_table(TableName=table)
    assert len(spans) == 1
    monkeypatch.undo()
    handle.uninstrument()


@pytest.mark.promise("AWS-01")
def test_threads_share_a_client(
    make_client: MakeClient, traced: SpanRecorder, table: str
) -> None:
    """Calls of many threads, the first ones at once, each stand below their own thread's span."""
    client, start = make_client("dynamodb"), threading.Barrier(8)

    def work(number: int) -> None:
        start.wait(10)
        with trace.get_tracer("test").start_as_current_span(f"thread {number}"):
            client.describe_table(TableName=table)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    parents = {
        span.parent.span_id
        for span in traced.named("DynamoDB.DescribeTable")
        if span.parent
    }
    assert parents == {
        traced.one(f"thread {number}").context.span_id for number in range(8)
    }


@pytest.mark.promise("AWS-01")
def test_clients_are_not_kept_alive(
    make_client: MakeClient, traced: SpanRecorder, table: str
) -> None:
    """A client that was traced can go; so can a session that was instrumented."""
    session = boto3.Session()
    handle = instrument_boto3(session)
    client = make_client("dynamodb", session)
    client.describe_table(TableName=table)
    client.close()
    gone = [weakref.ref(client), weakref.ref(session)]
    del client, session, handle
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


FORK = """
import os, sys, boto3
from obs_aws import instrument_boto3, uninstrument_boto3
from obs_core.testing import record_spans
keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
make = lambda: boto3.Session().client("dynamodb", "us-east-1", endpoint_url=sys.argv[1], **keys)
instrument_boto3()
old = make()
old.describe_table(TableName=sys.argv[2])
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
with record_spans() as spans:
    for client in (old, make()):
        client.describe_table(TableName=sys.argv[2])
    uninstrument_boto3()
    old.describe_table(TableName=sys.argv[2])
os._exit(len(spans) - 2)
"""


@pytest.mark.promise("AWS-01")
def test_a_forked_child_goes_on(aws_url: str, table: str) -> None:
    """A client of the parent's and one of its own are traced in the child, and uninstrumented there."""
    subprocess.run([sys.executable, "-c", FORK, aws_url, table], check=True, timeout=60)


def test_a_tracer_provider_of_its_own(
    make_client: MakeClient, spans: SpanRecorder, table: str
) -> None:
    """Spans go to the given provider and nowhere else."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    handle = instrument_boto3(tracer_provider=provider)
    make_client("dynamodb").describe_table(TableName=table)
    handle.uninstrument()
    assert [span.name for span in exporter.get_finished_spans()] == [
        "DynamoDB.DescribeTable"
    ]
    assert len(spans) == 0


def test_no_session_is_refused() -> None:
    """The message names the value and the fix."""
    with pytest.raises(
        ConfigurationError, match="session='eu-west-1' is not valid: give a boto3"
    ):
        instrument_boto3("eu-west-1")


def test_contrib_beside_it_does_not_double(
    make_client: MakeClient,
    spans: SpanRecorder,
    table: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With contrib's botocore instrumentation active there is one span a call, and one warning that says so."""
    from opentelemetry.instrumentation.botocore import BotocoreInstrumentor

    BotocoreInstrumentor().instrument()
    handle = instrument_boto3()
    make_client("dynamodb").describe_table(TableName=table)
    handle.uninstrument()
    BotocoreInstrumentor().uninstrument()
    assert len(spans.named("DynamoDB.DescribeTable")) == 1
    assert "BotocoreInstrumentor is active as well as obs-aws" in caplog.text


@pytest.mark.promise("AWS-01")
def test_contrib_after_it_does_not_double(
    make_client: MakeClient,
    traced: SpanRecorder,
    table: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Switched on after us, contrib has the calls of old clients and new, with one warning; afterwards they are ours again."""
    from opentelemetry.instrumentation.botocore import BotocoreInstrumentor

    monkeypatch.setattr("obs_core._safety.containment._warned", set())
    old = make_client("dynamodb")
    old.describe_table(TableName=table)
    BotocoreInstrumentor().instrument()
    for client in (old, make_client("dynamodb")):
        client.describe_table(TableName=table)
    BotocoreInstrumentor().uninstrument()
    old.describe_table(TableName=table)
    told = [
        span.instrumentation_scope for span in traced.named("DynamoDB.DescribeTable")
    ]
    contrib = "opentelemetry.instrumentation.botocore"
    assert [scope and scope.name.removesuffix(".dynamodb") for scope in told] == [
        "obs_aws",
        contrib,
        contrib,
        "obs_aws",
    ]
    assert caplog.text.count("BotocoreInstrumentor is active as well as obs-aws") == 1


def test_opentelemetry_instrument_picks_it_up() -> None:
    """`opentelemetry-instrument` finds the entry point and switches it on."""
    program = "import obs_core.integration as i; print(i.active_instrumentations())"
    command = [
        Path(sys.executable).with_name("opentelemetry-instrument"),
        sys.executable,
        "-c",
        program,
    ]
    environment = {
        **os.environ,
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "botocore,aiobotocore",
    }
    answer = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60
    )
    assert "'boto3'" in answer.stdout, answer.stderr


def test_importing_changes_nothing() -> None:
    """The import has no side effect, and botocore is not imported by it."""
    program = "import sys, obs_aws; assert not {'botocore', 'boto3', 'aiobotocore'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert obs_aws.__all__ == sorted(obs_aws.__all__)


@pytest.mark.promise("AWS-01")
@pytest.mark.parametrize("of", ["all", "session"])
def test_a_second_call_with_other_options_says_so(of: str) -> None:
    """The message names them; the same options, and `instrument="auto"`, take what is in place."""
    session = boto3.Session() if of == "session" else None
    handle = instrument_boto3(session, capture_s3_keys=True)
    assert instrument_boto3(session, capture_s3_keys=True) is handle
    if of == "all":
        assert instrument_boto3() is handle
    with pytest.raises(AlreadyConfiguredError, match=r"boto3 is .* another roots: "):
        instrument_boto3(session, roots=False)
    handle.uninstrument()
    again = instrument_boto3(session, roots=False)
    assert again.is_active
    again.uninstrument()


@pytest.mark.promise("AWS-01")
def test_nothing_is_recorded_where_instrumentation_is_suppressed(
    make_client: MakeClient, traced: SpanRecorder, table: str, queue_url: str
) -> None:
    """OpenTelemetry's `suppress_instrumentation()` silences every call, and what happens within it."""
    sqs = make_client("sqs")
    traced.clear()
    with suppress_instrumentation():
        make_client("dynamodb").describe_table(TableName=table)
        sqs.send_message(QueueUrl=queue_url, MessageBody="x")
        sqs.receive_message(QueueUrl=queue_url)
    assert traced.tree() == ""


@pytest.mark.promise("AWS-01")
def test_the_scope_says_name_version_and_schema(
    make_client: MakeClient, traced: SpanRecorder, queue_url: str
) -> None:
    """Of each span that is ours, as those of the other packages do."""
    client = make_client("sqs")
    entry = {"Id": "1", "MessageBody": "x"}
    traced.clear()
    client.send_message_batch(QueueUrl=queue_url, Entries=[entry])
    with process_message(client.receive_message(QueueUrl=queue_url)["Messages"][0]):
        pass
    scopes = {span.instrumentation_scope for span in traced}
    assert len(traced) == 4
    assert {
        (scope.name, scope.version, scope.schema_url) for scope in scopes if scope
    } == {("obs_aws", version("obs-aws"), "https://opentelemetry.io/schemas/1.36.0")}
