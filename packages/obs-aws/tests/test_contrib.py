"""Contrib's instrumentation of botocore as the implementation: its spans, our promises around them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from obs_aws import instrument_boto3, uninstrument_boto3
from obs_core.exceptions import (
    AlreadyConfiguredError,
    ConfigurationError,
    MissingDependencyError,
)
from obs_core.integration import mark_worker_process
from obs_core.testing import SpanRecorder
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from .conftest import MakeClient

SCOPE = "opentelemetry.instrumentation.botocore"


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    yield
    uninstrument_boto3()


def put(client: Any, table: str, **conditions: str) -> None:
    item = {"id": {"S": "item-secret"}}
    client.put_item(TableName=table, Item=item, **conditions)


@pytest.mark.promise("AWS-12")
def test_contribs_spans(
    make_client: MakeClient, table: str, spans: SpanRecorder
) -> None:
    """Of every client, made before or after; a second call is the first; uninstrumented, nothing is left."""
    from botocore.client import BaseClient

    plain = vars(BaseClient)["_make_api_call"]
    client = make_client("dynamodb")
    spans.clear()
    handle = instrument_boto3(implementation="contrib")
    assert instrument_boto3(implementation="contrib") is handle
    put(client, table)
    (span,) = spans
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name.startswith(SCOPE)
    handle.uninstrument()
    put(client, table)
    assert len(spans) == 1
    assert vars(BaseClient)["_make_api_call"] is plain


@pytest.mark.promise("AWS-12")
def test_expected_answers_are_no_errors(
    make_client: MakeClient, table: str, spans: SpanRecorder
) -> None:
    """A condition that fails is none; any other error is one, without its message."""
    client = make_client("dynamodb")
    instrument_boto3(implementation="contrib")
    put(client, table)
    spans.clear()
    with pytest.raises(client.exceptions.ConditionalCheckFailedException):
        put(client, table, ConditionExpression="attribute_not_exists(id)")
    (expected,) = spans
    assert expected.status.status_code is StatusCode.UNSET
    assert expected.events == ()
    spans.clear()
    with pytest.raises(ClientError):
        put(client, "no-such-table")
    (failed,) = spans
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description == "ResourceNotFoundException"
    assert (failed.attributes or {})["error.type"] == "ResourceNotFoundException"
    (event,) = failed.events
    assert set(event.attributes or ()) == {"exception.type", "exception.stacktrace"}
    assert "item-secret" not in expected.to_json() + failed.to_json()


@pytest.mark.promise("AWS-12")
def test_roots_and_hooks(
    make_client: MakeClient,
    table: str,
    spans: SpanRecorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No roots in a worker; a hook that raises is logged; secrets and long values of a hook are not exported."""

    def on_request(span: trace.Span, *_: object) -> None:
        span.set_attribute("url", "https://ada:secret@example.org/")
        span.set_attribute("long", "x" * 10_000)

    def on_response(*_: object) -> None:
        raise RuntimeError("hook")

    client = make_client("dynamodb")
    hooks = {"request_hook": on_request, "response_hook": on_response}
    instrument_boto3(implementation="contrib", contrib_options=hooks)
    spans.clear()
    mark_worker_process()
    try:
        put(client, table)
        assert len(spans) == 0
        with trace.get_tracer("task").start_as_current_span("task"):
            put(client, table)
    finally:
        mark_worker_process(False)
    attributes = spans.finished[0].attributes or {}
    assert attributes["url"] == "https://[REDACTED]@example.org/"
    assert len(str(attributes["long"]).encode()) == 4096
    assert caplog.text.count("RuntimeError: hook") == 1


@pytest.mark.promise("AWS-12")
def test_what_cannot_work_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single session, an option of ours, ours beside it, a missing package."""
    session = boto3.Session()
    with pytest.raises(ConfigurationError, match="all sessions or none"):
        instrument_boto3(session, implementation="contrib")
    with pytest.raises(ConfigurationError, match="capture_s3_keys: not an option"):
        instrument_boto3(implementation="contrib", capture_s3_keys=True)
    instrument_boto3(implementation="contrib")
    with pytest.raises(AlreadyConfiguredError, match="Uninstrument that first"):
        instrument_boto3(session, implementation="obs")
    uninstrument_boto3()
    monkeypatch.setitem(sys.modules, SCOPE, None)
    with pytest.raises(MissingDependencyError, match=r"obs-aws\[contrib\]"):
        instrument_boto3(implementation="contrib")
