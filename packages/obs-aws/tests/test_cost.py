"""What a DynamoDB call costs beside contrib's, in function calls: a count that no busy machine changes.

Times are measured by ``benchmarks/aws_overhead.py``; these bounds keep them from growing unseen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from obs_aws import instrument_boto3
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.sdk.trace import TracerProvider

from tests.call_counts import (
    function_calls,
    need_newest_contrib,
    our_provider,
    sdk_provider,
)

BODY = b'{"Item": {"id": {"S": "1"}}}'


@contextmanager
def contrib(provider: TracerProvider) -> Iterator[None]:
    BotocoreInstrumentor().instrument(tracer_provider=provider)
    yield
    BotocoreInstrumentor().uninstrument()


@contextmanager
def ours(provider: TracerProvider) -> Iterator[None]:
    handle = instrument_boto3(tracer_provider=provider)
    yield
    handle.uninstrument()


def answer(request: Any, **_: object) -> AWSResponse:
    """Answer at once, as the network would."""
    raw: Any = BytesIO(BODY)
    raw.stream = lambda: iter([BODY])
    headers = {"x-amzn-RequestId": "r", "Content-Type": "application/x-amz-json-1.0"}
    return AWSResponse(request.url, 200, headers, raw)


def make_client() -> Any:
    client = botocore.session.Session().create_client(
        "dynamodb",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    client.meta.events.register("before-send", answer)
    return client


@pytest.mark.parametrize(
    ("rate", "bound"), [(1.0, 0.45), (0.0, 0.4)], ids=["sampled", "unsampled"]
)
def test_calls_beside_contribs(rate: float, bound: float) -> None:
    """Less than half of contrib's, as a service has both: contrib on the SDK's provider, ours on ours."""
    need_newest_contrib()
    counts = []
    for instrumented, provider in (
        (contrib, sdk_provider(rate)),
        (ours, our_provider(rate)),
        (lambda _: nullcontext(), sdk_provider(rate)),
    ):
        with instrumented(provider):
            client = make_client()
            key = {"id": {"S": "1"}}
            counts.append(
                function_calls(
                    lambda client=client, key=key: client.get_item(
                        TableName="orders", Key=key
                    ),
                    provider,
                )
            )
    theirs, mine, bare = counts
    assert 0 < mine - bare <= bound * (theirs - bare)
