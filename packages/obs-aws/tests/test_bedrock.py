"""Bedrock: the ``gen_ai.*`` attributes; content only on request; a stream's span lasts as long as the stream."""

from __future__ import annotations

import asyncio
import gc
import io
import json
from base64 import b64encode
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from obs_aws import instrument_boto3
from obs_core.testing import SpanRecorder
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from .conftest import MakeClient, ServeEvents, aio_client, exported, frame

needs_converse = pytest.mark.skipif(
    "Converse"
    not in botocore.session.Session()
    .get_service_model("bedrock-runtime")
    .operation_names,
    reason="this botocore is older than Bedrock's Converse",
)
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
MESSAGES = [{"role": "user", "content": [{"text": "prompt-secret"}]}]
ANSWER = {
    "output": {
        "message": {"role": "assistant", "content": [{"text": "answer-secret"}]}
    },
    "stopReason": "end_turn",
    "usage": {"inputTokens": 7, "outputTokens": 11, "totalTokens": 18},
    "metrics": {"latencyMs": 1},
}
CONFIG = {"maxTokens": 100, "temperature": 0.5, "topP": 0.9}


def gen_ai(spans: SpanRecorder) -> dict[str, Any]:
    return {
        key: value
        for key, value in (spans.one(f"chat {MODEL}").attributes or {}).items()
        if key.startswith("gen_ai.")
    }


@pytest.mark.promise("AWS-07", "AWS-09")
@needs_converse
def test_converse(make_stub: Any, traced: SpanRecorder) -> None:
    """Model, settings, usage and finish reason; of what was said nothing."""
    client, stubber = make_stub("bedrock-runtime")
    stubber.add_response("converse", ANSWER)
    client.converse(
        modelId=MODEL,
        messages=MESSAGES,
        system=[{"text": "system-secret"}],
        inferenceConfig=CONFIG,
    )
    assert gen_ai(traced) == {
        "gen_ai.provider.name": "aws.bedrock",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.response.finish_reasons": ("end_turn",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 11,
    }
    assert traced.one(f"chat {MODEL}").kind is SpanKind.CLIENT
    assert "-secret" not in exported(traced)


@pytest.mark.promise("AWS-07")
@needs_converse
def test_content_on_request(make_stub: Any, spans: SpanRecorder) -> None:
    """With `capture_gen_ai_content=True` both sides are told, up to 8 KiB each."""
    handle = instrument_boto3(capture_gen_ai_content=True)
    client, stubber = make_stub("bedrock-runtime")
    stubber.add_response("converse", ANSWER)
    long = [{"role": "user", "content": [{"text": "prompt-secret" + "x" * 20_000}]}]
    client.converse(modelId=MODEL, messages=long, system=[{"text": "system-secret"}])
    handle.uninstrument()
    told = gen_ai(spans)
    assert "prompt-secret" in told["gen_ai.input.messages"]
    assert 4_000 < len(told["gen_ai.input.messages"].encode()) <= 8_192
    assert "system-secret" in told["gen_ai.system_instructions"]
    assert "answer-secret" in told["gen_ai.output.messages"]


@pytest.mark.promise("AWS-07")
@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"max_tokens": 50, "temperature": 1, "prompt": "prompt-secret"}),
        b"not json",
        "[]",
    ],
)
def test_invoke_model(make_stub: Any, traced: SpanRecorder, body: Any) -> None:
    """Settings from a JSON body, token counts from the headers; the answer's body is left for the caller to read."""
    client, stubber = make_stub("bedrock-runtime")
    raw = b'{"completion": "answer-secret"}'
    answer = {
        "body": StreamingBody(io.BytesIO(raw), len(raw)),
        "contentType": "application/json",
        "ResponseMetadata": {
            "HTTPHeaders": {
                "x-amzn-bedrock-input-token-count": "3",
                "x-amzn-bedrock-output-token-count": "5",
            }
        },
    }
    stubber.add_response("invoke_model", answer)
    response = client.invoke_model(modelId=MODEL, body=body)
    assert response["body"].read() == raw
    told = gen_ai(traced)
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (
        3,
        5,
    )
    assert told.get("gen_ai.request.max_tokens") == (50 if "max" in str(body) else None)
    assert "-secret" not in exported(traced)


START = frame("messageStart", {"role": "assistant"})
DELTA = frame(
    "contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "answer-secret"}}
)
STOP = frame("messageStop", {"stopReason": "end_turn"})
USAGE = frame("metadata", {"usage": ANSWER["usage"], "metrics": {"latencyMs": 1}})
THROTTLED = frame("throttlingException", {"message": "answer-secret"}, "exception")


@pytest.fixture
def stream_url(request: pytest.FixtureRequest, serve_events: ServeEvents) -> str:
    """A server that streams the frames of the test's parameter, or a whole answer."""
    return serve_events(getattr(request, "param", [START, DELTA, STOP, USAGE]))


@pytest.mark.promise("AWS-07")
@needs_converse
def test_a_streams_span_ends_with_the_stream(
    make_client: MakeClient, traced: SpanRecorder, stream_url: str
) -> None:
    """The span is open until the last event, which brings usage and finish reason."""
    client = make_client("bedrock-runtime", endpoint_url=stream_url)
    with trace.get_tracer("test").start_as_current_span("request") as request:
        stream = client.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"]
        assert trace.get_current_span() is request
        assert len(traced) == 0
        assert [next(iter(event)) for event in stream] == [
            "messageStart",
            "contentBlockDelta",
            "messageStop",
            "metadata",
        ]
    client.close()
    told = gen_ai(traced)
    assert told["gen_ai.usage.output_tokens"] == 11
    assert told["gen_ai.response.finish_reasons"] == ("end_turn",)
    assert "-secret" not in exported(traced)


@pytest.mark.promise("AWS-07")
@pytest.mark.parametrize("way", ["break", "close", "forget"])
@needs_converse
def test_a_stream_left_early_ends_its_span(
    make_client: MakeClient, traced: SpanRecorder, stream_url: str, way: str
) -> None:
    """Whoever stops reading, closes or drops the stream has ended the span, once."""
    client = make_client("bedrock-runtime", endpoint_url=stream_url)
    response = client.converse_stream(modelId=MODEL, messages=MESSAGES)
    if way == "break":
        for _ in response["stream"]:
            break
    if way == "close":
        response["stream"].close()
    connection = response["stream"]._raw_stream
    del response
    gc.collect()
    connection.close()
    client.close()
    assert traced.one(f"chat {MODEL}").status.status_code is StatusCode.UNSET


@pytest.mark.promise("AWS-07", "AWS-06")
@pytest.mark.parametrize("stream_url", [[START, THROTTLED]], indirect=True)
@needs_converse
def test_a_stream_that_fails(
    make_client: MakeClient, traced: SpanRecorder, stream_url: str
) -> None:
    """An error in the stream reaches the caller and is the span's."""
    client = make_client("bedrock-runtime", endpoint_url=stream_url)
    stream = client.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"]
    with pytest.raises(ClientError):
        list(stream)
    stream.close()
    client.close()
    span = traced.one(f"chat {MODEL}")
    assert (span.status.status_code, (span.attributes or {})["error.type"]) == (
        StatusCode.ERROR,
        "throttlingException",
    )
    assert "-secret" not in exported(traced)


@pytest.mark.promise("AWS-07", "AWS-01")
@needs_converse
def test_an_asynchronous_stream(traced: SpanRecorder, stream_url: str) -> None:
    """Aiobotocore's streams, read by `async for`, do the same."""

    async def main() -> list[str]:
        async with aio_client("bedrock-runtime", stream_url) as client:
            response = await client.converse_stream(modelId=MODEL, messages=MESSAGES)
            return [next(iter(event)) async for event in response["stream"]]

    assert asyncio.run(main()) == [
        "messageStart",
        "contentBlockDelta",
        "messageStop",
        "metadata",
    ]
    assert gen_ai(traced)["gen_ai.usage.input_tokens"] == 7


@pytest.mark.promise("AWS-07")
@pytest.mark.parametrize(
    "stream_url", [[frame("chunk", {"bytes": "e30="})]], indirect=True
)
def test_invoke_model_with_response_stream(
    make_client: MakeClient, traced: SpanRecorder, stream_url: str
) -> None:
    """A model's own stream ends its span as well."""
    client = make_client("bedrock-runtime", endpoint_url=stream_url)
    body = client.invoke_model_with_response_stream(modelId=MODEL, body="{}")["body"]
    assert len(traced) == 0
    assert [event["chunk"]["bytes"] for event in body] == [b"{}"]
    client.close()
    assert traced.one(f"chat {MODEL}").status.status_code is StatusCode.UNSET


CACHED = {
    "gen_ai.usage.cache_read.input_tokens": 100,
    "gen_ai.usage.cache_creation.input_tokens": 6,
}
COUNTED = {"gen_ai.usage.input_tokens": 113, "gen_ai.usage.output_tokens": 11, **CACHED}


def usage(spans: SpanRecorder) -> dict[str, Any]:
    return {key: value for key, value in gen_ai(spans).items() if ".usage." in key}


@pytest.mark.promise("AWS-07")
@needs_converse
def test_cached_tokens_are_input(make_stub: Any, traced: SpanRecorder) -> None:
    """Bedrock tells what was cached beside its input tokens; the total counts it, and the parts are told too."""
    client, stubber = make_stub("bedrock-runtime")
    counts = {**ANSWER["usage"], "totalTokens": 124}  # type: ignore[dict-item]
    cached = {"cacheReadInputTokens": 100, "cacheWriteInputTokens": 6}
    shape = client.meta.service_model.shape_for("TokenUsage")
    if not cached.keys() <= shape.members.keys():
        pytest.skip("this botocore is older than Bedrock's cache")
    stubber.add_response("converse", {**ANSWER, "usage": {**counts, **cached}})
    client.converse(modelId=MODEL, messages=MESSAGES)
    assert usage(traced) == COUNTED


@pytest.mark.promise("AWS-07")
def test_cached_tokens_in_the_headers(make_stub: Any, traced: SpanRecorder) -> None:
    """The headers of a model's own answer count in the same way."""
    client, stubber = make_stub("bedrock-runtime")
    names = {"input": 7, "output": 11, "cache-read-input": 100, "cache-write-input": 6}
    headers = {
        f"x-amzn-bedrock-{name}-token-count": str(count)
        for name, count in names.items()
    }
    answer = {
        "body": StreamingBody(io.BytesIO(b"{}"), 2),
        "contentType": "application/json",
        "ResponseMetadata": {"HTTPHeaders": headers},
    }
    stubber.add_response("invoke_model", answer)
    client.invoke_model(modelId=MODEL, body="{}")["body"].close()
    assert usage(traced) == COUNTED


def chunk(event: dict[str, Any]) -> bytes:
    return frame("chunk", {"bytes": b64encode(json.dumps(event).encode()).decode()})


METRICS = {
    "inputTokenCount": 7,
    "outputTokenCount": 11,
    "cacheReadInputTokenCount": 100,
    "cacheWriteInputTokenCount": 6,
    "invocationLatency": 5,
}
ENDS = {
    "metrics": {"type": "message_stop", "amazon-bedrock-invocationMetrics": METRICS},
    "none": {"type": "message_stop"},
}


@pytest.mark.promise("AWS-07")
@pytest.mark.parametrize(
    ("stream_url", "counted"),
    [
        ([chunk({"text": "answer-secret"}), chunk(ENDS["metrics"])], COUNTED),
        (
            [chunk({"text": "amazon-bedrock-invocationMetrics"}), chunk(ENDS["none"])],
            {},
        ),
        (
            [
                frame(
                    "chunk",
                    {
                        "bytes": b64encode(
                            b"amazon-bedrock-invocationMetrics {"
                        ).decode()
                    },
                )
            ],
            {},
        ),
    ],
    indirect=["stream_url"],
    ids=["metrics", "without", "no-json"],
)
def test_usage_of_a_models_own_stream(
    make_client: MakeClient,
    traced: SpanRecorder,
    stream_url: str,
    counted: dict[str, int],
) -> None:
    """Bedrock adds its metrics to the last chunk of a model's own stream; whatever else chunks hold is not looked into."""
    client = make_client("bedrock-runtime", endpoint_url=stream_url)
    list(client.invoke_model_with_response_stream(modelId=MODEL, body="{}")["body"])
    client.close()
    assert usage(traced) == counted
    assert "-secret" not in exported(traced)
