"""Lambda: the trace context travels beside the payload, and a function that fails is an error."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from obs_core.testing import SpanRecorder
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import StatusCode

from .conftest import MakeClient, MakeStub
from .test_messaging import ids


def encoded(client_context: bytes) -> str:
    return base64.b64encode(client_context).decode()


@pytest.mark.promise("AWS-05")
@pytest.mark.parametrize(
    "payload", [b'{"a":  1, "headers": null}', b"\x00\xff not json", b""]
)
def test_lambda_carries_it_beside_the_payload(
    make_stub: MakeStub, traced: SpanRecorder, payload: bytes
) -> None:
    """The payload goes byte for byte; the context stands in ClientContext.custom beside what the caller has there."""
    client, stubber = make_stub("lambda")
    seen: list[dict[str, Any]] = []
    client.meta.events.register(
        "before-parameter-build.lambda.Invoke", lambda params, **_: seen.append(params)
    )
    own = {"client": {"app": "x"}, "custom": {"mine": "1"}}
    params = {"FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:price:live", "Payload": payload,
              "ClientContext": base64.b64encode(json.dumps(own).encode()).decode()}  # fmt: skip
    before = copy.deepcopy(params)
    stubber.add_response("invoke", {"StatusCode": 200})
    client.invoke(**params)
    span = traced.one("Lambda.Invoke")
    client_context = json.loads(base64.b64decode(seen[0]["ClientContext"]))
    carried = trace.get_current_span(
        propagate.extract(client_context["custom"], Context())
    ).get_span_context()
    assert params == before
    assert seen[0]["Payload"] == payload
    assert (carried.trace_id, carried.span_id) == ids(span)
    assert client_context["client"] == own["client"]
    assert client_context["custom"]["mine"] == "1"
    assert {
        key: value
        for key, value in (span.attributes or {}).items()
        if key.startswith("faas")
    } == {
        "faas.invoked_name": "price",
        "faas.invoked_provider": "aws",
        "faas.invoked_region": "us-east-1",
    }


@pytest.mark.promise("AWS-05")
@pytest.mark.parametrize(
    "own",
    [
        "!no base64!",
        *map(encoded, (b"no json", b'{"custom": 1}', b'{"x": "%s"}' % (b"y" * 2600))),
    ],
)
def test_a_client_context_that_cannot_carry_it_stays(
    make_stub: MakeStub, traced: SpanRecorder, own: str
) -> None:
    """What is not JSON, has no room or another shape goes as the caller gave it."""
    client, stubber = make_stub("lambda")
    stubber.add_response(
        "invoke", {"StatusCode": 200}, {"FunctionName": "f", "ClientContext": own}
    )
    client.invoke(FunctionName="f", ClientContext=own)
    assert traced.one("Lambda.Invoke").status.status_code is StatusCode.UNSET


@pytest.mark.promise("AWS-05", "AWS-06")
def test_a_function_that_failed(make_stub: MakeStub, traced: SpanRecorder) -> None:
    """AWS answers 200 for a function that raised; the span says that it failed."""
    client, stubber = make_stub("lambda")
    stubber.add_response("invoke", {"StatusCode": 200, "FunctionError": "Unhandled"})
    client.invoke(FunctionName="f")
    span = traced.one("Lambda.Invoke")
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "Unhandled"


@pytest.mark.promise("AWS-05", "AWS-09")
def test_lambda_on_a_server(
    make_client: MakeClient,
    name: str,
    traced: SpanRecorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Moto's Lambda takes the call that carries the context."""
    client, iam = make_client("lambda"), make_client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    code = {"ZipFile": base64.b64decode("UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==")}
    client.create_function(
        FunctionName=name, Runtime="python3.11", Role=role, Handler="a.b", Code=code
    )
    function = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    client.invoke(FunctionName=function, InvocationType="DryRun", Payload=b"{}")
    assert (traced.one("Lambda.Invoke").attributes or {})["faas.invoked_name"] == name
