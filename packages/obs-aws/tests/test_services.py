"""S3, Secrets Manager, Step Functions, and which calls are producers: the table of services."""

from __future__ import annotations

import pytest
from obs_aws import instrument_boto3
from obs_core.testing import SpanRecorder
from opentelemetry.trace import SpanKind

from .conftest import MakeClient, MakeStub, exported


@pytest.mark.promise("AWS-03")
def test_only_what_sends_is_a_producer(
    make_stub: MakeStub, traced: SpanRecorder
) -> None:
    """Kinesis and EventBridge are sent to by PRODUCER spans; their other calls are CLIENT spans."""
    kinesis, stubber = make_stub("kinesis")
    stubber.add_response("put_record", {"ShardId": "s", "SequenceNumber": "1"})
    kinesis.put_record(StreamName="s", Data=b"{}", PartitionKey="k")
    stubber.add_response("get_records", {"Records": []})
    kinesis.get_records(ShardIterator="i")
    events, stubber = make_stub("events")
    stubber.add_response("put_events", {"FailedEntryCount": 0, "Entries": []})
    events.put_events(Entries=[{"Source": "s", "DetailType": "d", "Detail": "{}"}])
    stubber.add_response("list_rules", {"Rules": []})
    events.list_rules()
    assert {span.name: span.kind for span in traced} == {
        "Kinesis.PutRecord": SpanKind.PRODUCER,
        "Kinesis.GetRecords": SpanKind.CLIENT,
        "EventBridge.PutEvents": SpanKind.PRODUCER,
        "EventBridge.ListRules": SpanKind.CLIENT,
    }


@pytest.mark.promise("AWS-07")
def test_s3_tells_the_bucket_and_not_the_key(
    make_client: MakeClient, name: str, traced: SpanRecorder
) -> None:
    """By default the key is in no exported string, not even of a failure; the body never."""
    s3 = make_client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="key-secret.txt", Body=b"body-secret")
    assert (
        s3.get_object(Bucket=name, Key="key-secret.txt")["Body"].read()
        == b"body-secret"
    )
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=name, Key="key-secret.gone")
    assert {(span.attributes or {})["aws.s3.bucket"] for span in traced} == {name}
    assert "-secret" not in exported(traced)


@pytest.mark.promise("AWS-07")
def test_s3_keys_on_request(
    make_client: MakeClient, name: str, spans: SpanRecorder
) -> None:
    """With `capture_s3_keys=True` the key is told."""
    handle = instrument_boto3(capture_s3_keys=True)
    s3 = make_client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="a/b.txt", Body=b"x")
    handle.uninstrument()
    assert (spans.one("S3.PutObject").attributes or {})["aws.s3.key"] == "a/b.txt"


@pytest.mark.promise("AWS-07")
def test_presigning_makes_no_span(
    make_client: MakeClient, name: str, traced: SpanRecorder
) -> None:
    """A presigned URL is made without a call, so without a span, and is what it would be."""
    url = make_client("s3").generate_presigned_url(
        "get_object", Params={"Bucket": name, "Key": "k"}
    )
    assert "Signature=" in url
    assert len(traced) == 0


def test_secrets_are_told_by_arn_only(
    make_stub: MakeStub, traced: SpanRecorder
) -> None:
    """A secret's ARN is an attribute, its bare name is not, its value never."""
    client, stubber = make_stub("secretsmanager")
    arn = "arn:aws:secretsmanager:us-east-1:1:secret:db-1"
    for secret in (arn, "plain-name"):
        stubber.add_response("get_secret_value", {"SecretString": "the-value"})
        client.get_secret_value(SecretId=secret)
    told = [
        (span.attributes or {}).get("aws.secretsmanager.secret.arn") for span in traced
    ]
    assert told == [arn, None]
    assert "the-value" not in exported(traced)
    assert "plain-name" not in exported(traced)
