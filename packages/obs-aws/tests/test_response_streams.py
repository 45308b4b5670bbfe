"""Event streams: one span to the stream's end, in however many goes it is read, and the stream botocore's own."""

from __future__ import annotations

import asyncio
import gc
import json
from base64 import b64decode
from collections.abc import AsyncIterable, Callable
from contextlib import closing
from typing import Any

import botocore.session
import pytest
from botocore.eventstream import EventStream
from botocore.exceptions import EventStreamError
from obs_aws import instrument_boto3
from obs_core.testing import SpanRecorder
from opentelemetry.trace import SpanKind, StatusCode

from .conftest import MakeClient, ServeEvents, aio_client, exported, frame

_END = object()
RECORDS = [frame("initial-response", {})] + [
    frame(
        "SubscribeToShardEvent", {"Records": [], "ContinuationSequenceNumber": number}
    )
    for number in ("1", "2", "3")
]
FAILED = frame("InternalFailureException", {"message": "event-secret"}, "exception")
needs_lambda_streams = pytest.mark.skipif(
    "InvokeWithResponseStream"
    not in botocore.session.Session().get_service_model("lambda").operation_names,
    reason="this botocore is older than Lambda's streams",
)
Read = Callable[[Any], list[Any]]
AioRead = Callable[[Any], Any]


def peek_and_read(stream: Any) -> list[Any]:
    return [next(iter(stream)), *stream]


def break_and_go_on(stream: Any) -> list[Any]:
    events = []
    for event in stream:
        events.append(event)
        break
    return [*events, *stream]


def a_loop_an_event(stream: Any) -> list[Any]:
    events = []
    while (event := next(iter(stream), _END)) is not _END:
        events.append(event)
    return events


async def aio_peek_and_read(stream: Any) -> list[Any]:
    return [await anext(aiter(stream)), *[event async for event in stream]]


async def aio_break_and_go_on(stream: Any) -> list[Any]:
    events = []
    async for event in stream:
        events.append(event)
        break
    return [*events, *[event async for event in stream]]


async def aio_a_loop_an_event(stream: Any) -> list[Any]:
    events = []
    while (event := await anext(aiter(stream), _END)) is not _END:
        events.append(event)
    return events


def subscribe(client: Any) -> Any:
    return client.subscribe_to_shard(
        ConsumerARN="arn:aws:kinesis:us-east-1:1:stream/s/consumer/c:1",
        ShardId="shardId-0",
        StartingPosition={"Type": "LATEST"},
    )


def numbers(events: list[Any]) -> list[str]:
    return [
        event["SubscribeToShardEvent"]["ContinuationSequenceNumber"] for event in events
    ]


def assert_read_to_its_end(spans: SpanRecorder, url: str) -> None:
    span = spans.one("Kinesis.SubscribeToShard")
    assert (span.kind, span.status.status_code) == (SpanKind.CLIENT, StatusCode.UNSET)
    assert dict(span.attributes or {}) == {
        "rpc.system": "aws-api",
        "rpc.service": "Kinesis",
        "rpc.method": "SubscribeToShard",
        "cloud.region": "us-east-1",
        "server.address": "127.0.0.1",
        "server.port": int(url.rpartition(":")[2]),
        "http.response.status_code": 200,
    }


@pytest.mark.promise("AWS-11")
@pytest.mark.parametrize(
    "read", [list, peek_and_read, break_and_go_on, a_loop_an_event]
)
def test_a_stream_read_in_several_goes(
    make_client: MakeClient,
    traced: SpanRecorder,
    serve_events: ServeEvents,
    caplog: pytest.LogCaptureFixture,
    read: Read,
) -> None:
    """All events arrive, and the span ends with the last of them, whichever loop reads it."""
    url = serve_events(RECORDS)
    with closing(make_client("kinesis", endpoint_url=url)) as client:
        stream = subscribe(client)["EventStream"]
        assert len(traced) == 0
        assert numbers(read(stream)) == ["1", "2", "3"]
        assert_read_to_its_end(traced, url)
        assert list(stream) == []
        stream.close()
    assert caplog.messages == []
    assert len(traced) == 1


@pytest.mark.promise("AWS-11")
@pytest.mark.parametrize(
    "read", [aio_peek_and_read, aio_break_and_go_on, aio_a_loop_an_event]
)
def test_an_asynchronous_stream_read_in_several_goes(
    traced: SpanRecorder,
    serve_events: ServeEvents,
    caplog: pytest.LogCaptureFixture,
    read: AioRead,
) -> None:
    """Aiobotocore's streams do the same."""
    url = serve_events(RECORDS)

    async def main() -> list[Any]:
        async with aio_client("kinesis", url) as client:
            stream = (await subscribe(client))["EventStream"]
            assert len(traced) == 0
            return await read(stream)  # type: ignore[no-any-return]

    assert numbers(asyncio.run(main())) == ["1", "2", "3"]
    assert_read_to_its_end(traced, url)
    assert caplog.messages == []


@pytest.mark.promise("AWS-11")
def test_a_stream_is_botocores_own(
    make_client: MakeClient, traced: SpanRecorder, serve_events: ServeEvents
) -> None:
    """Type, name of the type, methods and attributes are as they are untraced; a sync stream is not async iterable."""
    with closing(make_client("kinesis", endpoint_url=serve_events(RECORDS))) as client:
        stream = subscribe(client)["EventStream"]
        assert isinstance(stream, EventStream)
        assert type(stream).__mro__[-2:] == (EventStream, object)
        assert type(stream).__qualname__ == "EventStream"
        assert type(stream).__module__ == EventStream.__module__
        assert not isinstance(stream, AsyncIterable)
        assert {name for name in vars(stream) if not name.startswith("_obs_")} == {
            *(
                "_raw_stream",
                "_output_shape",
                "_operation_name",
                "_parser",
                "_event_generator",
            )
        }
        stream.close()


@pytest.mark.promise("AWS-11")
@pytest.mark.parametrize("way", ["close", "drop"])
def test_a_stream_that_is_given_up(
    make_client: MakeClient, traced: SpanRecorder, serve_events: ServeEvents, way: str
) -> None:
    """Leaving a loop keeps the span open; closing the stream, or dropping it, ends it once."""
    with closing(make_client("kinesis", endpoint_url=serve_events(RECORDS))) as client:
        stream = subscribe(client)["EventStream"]
        for _ in stream:
            break
        assert len(traced) == 0
        connection = stream._raw_stream
        if way == "close":
            stream.close()
            assert len(traced) == 1
        del stream
        gc.collect()
        connection.close()
    assert traced.one("Kinesis.SubscribeToShard").status.status_code is StatusCode.UNSET


@pytest.mark.promise("AWS-11", "AWS-06")
def test_a_stream_that_fails_later(
    make_client: MakeClient, traced: SpanRecorder, serve_events: ServeEvents
) -> None:
    """An error of AWS after the first loop was left is the span's, by its code."""
    frames = [*RECORDS, FAILED]
    with closing(make_client("kinesis", endpoint_url=serve_events(frames))) as client:
        stream = subscribe(client)["EventStream"]
        with pytest.raises(EventStreamError, match="event-secret"):
            break_and_go_on(stream)
        stream.close()
    span = traced.one("Kinesis.SubscribeToShard")
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "InternalFailureException"
    assert "-secret" not in exported(traced)


@pytest.mark.promise("AWS-11", "AWS-06")
def test_an_expected_error_in_a_stream(
    make_client: MakeClient, spans: SpanRecorder, serve_events: ServeEvents
) -> None:
    """`expected` counts inside a stream as well."""
    handle = instrument_boto3(expected=["Kinesis.*:InternalFailureException"])
    frames = [RECORDS[0], FAILED]
    with closing(make_client("kinesis", endpoint_url=serve_events(frames))) as client:
        stream = subscribe(client)["EventStream"]
        with pytest.raises(EventStreamError):
            list(stream)
        stream.close()
    handle.uninstrument()
    span = spans.one("Kinesis.SubscribeToShard")
    assert (span.status.status_code, "error.type" in (span.attributes or {})) == (
        StatusCode.UNSET,
        False,
    )


@pytest.mark.promise("AWS-11")
def test_a_reader_that_is_cancelled(traced: SpanRecorder) -> None:
    """A task that is cancelled as it waits for an event ends the span then, and leaves nothing in the log."""

    async def main() -> None:
        served, closed = asyncio.Event(), asyncio.Event()

        async def serve(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await reader.readuntil(b"}}")
            writer.write(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"".join(RECORDS[:2])
            )
            await writer.drain()
            served.set()
            await reader.read()
            writer.close()
            await writer.wait_closed()
            closed.set()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with aio_client("kinesis", f"http://127.0.0.1:{port}") as client:
                stream = (await subscribe(client))["EventStream"]
                events = aiter(stream)
                await anext(events)
                waiting = asyncio.ensure_future(anext(events))
                await served.wait()
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                assert len(traced) == 1
                stream.close()
            await asyncio.wait_for(closed.wait(), 30)

    asyncio.run(main())
    assert traced.one("Kinesis.SubscribeToShard").status.status_code is StatusCode.UNSET


@pytest.mark.promise("AWS-11")
def test_s3_select(
    make_client: MakeClient, traced: SpanRecorder, serve_events: ServeEvents
) -> None:
    """A stream of the protocol's XML kind, its payload bytes, is the same."""
    frames = [frame("Records", b"1,2\n"), frame("Records", b"3,4\n"), frame("End", b"")]
    with closing(make_client("s3", endpoint_url=serve_events(frames))) as client:
        stream = client.select_object_content(
            Bucket="shop",
            Key="orders.csv",
            Expression="SELECT * FROM S3Object",
            ExpressionType="SQL",
            InputSerialization={"CSV": {}},
            OutputSerialization={"CSV": {}},
        )["Payload"]
        assert len(traced) == 0
        first, second, end = break_and_go_on(stream)
        stream.close()
    assert (first["Records"]["Payload"], second["Records"]["Payload"]) == (
        b"1,2\n",
        b"3,4\n",
    )
    assert end == {"End": {}}
    assert (traced.one("S3.SelectObjectContent").attributes or {})[
        "aws.s3.bucket"
    ] == "shop"


@pytest.mark.promise("AWS-11", "AWS-06")
@needs_lambda_streams
def test_a_function_that_fails_while_it_streams(
    make_client: MakeClient, traced: SpanRecorder, serve_events: ServeEvents
) -> None:
    """A streaming function's failure is told by the stream's last event, and the context goes to it as to any other."""
    end = {
        "ErrorCode": "Function.ResponseSizeTooLarge",
        "ErrorDetails": "detail-secret",
    }
    frames = [frame("PayloadChunk", b"7"), frame("InvokeComplete", end)]
    with closing(make_client("lambda", endpoint_url=serve_events(frames))) as client:
        sent: list[Any] = []
        client.meta.events.register(
            "before-call", lambda params, **_: sent.append(params)
        )
        stream = client.invoke_with_response_stream(FunctionName="price", Payload=b"{}")
        list(stream["EventStream"])
        stream["EventStream"].close()
    span = traced.one("Lambda.InvokeWithResponseStream")
    assert span.status.status_code is StatusCode.ERROR
    attributes = dict(span.attributes or {})
    assert attributes["error.type"] == "Function.ResponseSizeTooLarge"
    assert attributes["faas.invoked_name"] == "price"
    carried = json.loads(b64decode(sent[0]["headers"]["X-Amz-Client-Context"]))[
        "custom"
    ]
    assert f"{span.context.span_id:016x}" in carried["traceparent"]
    assert "-secret" not in exported(traced)


@pytest.mark.promise("AWS-11")
def test_an_objects_body_is_botocores_own(
    make_client: MakeClient, traced: SpanRecorder, name: str
) -> None:
    """A file-like body is read in as many goes as one likes, after the span, which ends with the answer's headers."""
    client = make_client("s3")
    client.create_bucket(Bucket=name)
    client.put_object(Bucket=name, Key="k", Body=b"one\ntwo\n")
    body = client.get_object(Bucket=name, Key="k")["Body"]
    assert type(body).__module__.startswith("botocore.")
    traced.one("S3.GetObject")
    assert [body.read(2), next(body.iter_lines()), body.read()] == [b"on", b"e", b""]
    assert len(traced) == 3
