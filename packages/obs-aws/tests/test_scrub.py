"""No credential and no presigned URL in any exported string, whatever goes through the calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.stub import Stubber
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from obs_aws import instrument_boto3, process_message
from obs_aws._scrub import MAX_VALUE_BYTES, scrub
from obs_core.testing import record_spans

from .conftest import exported

UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
ACCESS_KEYS = st.builds(
    "{}{}".format,
    st.sampled_from(["AKIA", "ASIA"]),
    st.text(UPPER, min_size=16, max_size=16),
)
SECRETS = st.text(UPPER + UPPER.lower() + "/+", min_size=40, max_size=40)
TOKENS = st.text(UPPER + UPPER.lower() + "/+=", min_size=60, max_size=200)


@st.composite
def credentials(draw: Callable[..., Any]) -> dict[str, str]:
    """A set of credentials as STS gives them."""
    return {
        "aws_access_key_id": draw(ACCESS_KEYS),
        "aws_secret_access_key": draw(SECRETS),
        "aws_session_token": draw(TOKENS),
    }


def presigned(keys: dict[str, str], version: str) -> str:
    """A real presigned URL."""
    client = boto3.Session().client(
        "s3", region_name="us-east-1", config=Config(signature_version=version), **keys
    )
    url: str = client.generate_presigned_url(
        "get_object", Params={"Bucket": "b", "Key": "k"}
    )
    return url


def secrets_of(keys: dict[str, str], url: str) -> list[str]:
    """What must be in no exported string: the credentials, and the parameters that make the URL open the door."""
    from urllib.parse import parse_qs, quote, urlsplit

    parameters = parse_qs(urlsplit(url).query)
    signed = [
        value
        for name in ("X-Amz-Signature", "Signature", "X-Amz-Credential")
        for value in parameters.get(name, [])
    ]
    return [
        *keys.values(),
        *signed,
        *(quote(value, safe="") for value in [*keys.values(), *signed]),
    ]


def calls(
    keys: dict[str, str], url: str, message: str
) -> list[tuple[str, str, dict[str, Any]]]:
    """Calls of every traced kind that have a secret wherever a string may be."""
    return [
        ("s3", "get_object", {"Bucket": url, "Key": url}),
        ("s3", "put_object", {"Bucket": "b", "Key": keys["aws_access_key_id"]}),
        ("sqs", "send_message", {"QueueUrl": url, "MessageBody": url}),
        ("sqs", "receive_message", {"QueueUrl": url.replace("https://", f"https://user:{keys['aws_access_key_id']}@")}),
        ("sqs", "send_message_batch", {"QueueUrl": url, "Entries": [{"Id": "1", "MessageBody": message}]}),
        ("sns", "publish", {"TopicArn": url, "Message": url}),
        ("dynamodb", "get_item", {"TableName": url, "Key": {"id": {"S": url}}}),
        ("dynamodb", "batch_write_item", {"RequestItems": {url: [], keys["aws_access_key_id"]: []}}),
        ("lambda", "invoke", {"FunctionName": url, "Payload": url.encode()}),
        ("events", "put_events", {"Entries": [{"Source": url, "DetailType": "d", "Detail": "{}", "EventBusName": url}]}),
        ("kinesis", "put_record", {"StreamName": url, "Data": url.encode(), "PartitionKey": "p"}),
        ("secretsmanager", "put_secret_value", {"SecretId": f"arn:{url}", "SecretString": keys["aws_secret_access_key"]}),
        ("bedrock-runtime", "converse", {"modelId": url, "messages": [{"role": "user", "content": [{"text": url}]}]}),
        ("sts", "get_session_token", {}),
    ]  # fmt: skip


@pytest.mark.promise("AWS-07")
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.reuse, Phase.generate],
)
@given(
    keys=credentials(), version=st.sampled_from(["s3v4", "s3"]), quoted=st.booleans()
)
def test_nothing_exported_opens_a_door(
    keys: dict[str, str], version: str, quoted: bool
) -> None:
    """Credentials and presigned URLs as names, bodies and items, and in AWS's messages: none in any exported string."""
    url = presigned(keys, version)
    credentials = f"Credential={keys['aws_access_key_id']}/x, aws_session_token={keys['aws_session_token']}"
    message = f"the request {url} with {credentials} failed"
    with record_spans() as spans:
        handle = instrument_boto3(
            capture_s3_keys=True,
            capture_error_messages=quoted,
            capture_gen_ai_content=True,
        )
        for service, operation, params in calls(keys, url, message):
            client = CLIENTS[service]
            if not hasattr(client, operation):
                continue
            with Stubber(client) as stubber:
                stubber.add_client_error(operation, "InvalidRequest", message, 400)
                with pytest.raises((ClientError, BotoCoreError)):
                    getattr(client, operation)(**params)
        with (
            pytest.raises(RuntimeError),
            process_message(
                {"MessageId": url, "Body": url},
                destination=url,
                attributes={"url": url},
            ),
        ):
            raise RuntimeError(message)
        handle.uninstrument()
        text = exported(spans)
    assert len(spans) >= 14
    assert not [secret for secret in secrets_of(keys, url) if secret in text]


CLIENTS = {
    service: botocore.session.Session().create_client(
        service,
        "us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(parameter_validation=False),
    )
    for service in (
        "s3",
        "sqs",
        "sns",
        "dynamodb",
        "lambda",
        "events",
        "kinesis",
        "secretsmanager",
        "bedrock-runtime",
        "sts",
    )
}


@pytest.mark.promise("AWS-07")
@given(st.text(max_size=3000))
def test_scrub_never_raises_and_is_bounded(text: str) -> None:
    """Any text comes back, at most 1 KiB of it; scrubbing again changes nothing."""
    scrubbed = scrub(text)
    assert len(scrubbed.encode("utf-8", "replace")) <= MAX_VALUE_BYTES
    assert scrub(scrubbed) == scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "orders",
        "arn:aws:sns:us-east-1:123456789012:topic",
        "https://sqs.us-east-1.amazonaws.com/1/q.fifo",
        "a_b-c.d",
    ],
)
def test_ordinary_names_stay(text: str) -> None:
    """What is no secret is left alone."""
    assert scrub(text) == text
