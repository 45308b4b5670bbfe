"""What is particular about services whose calls are calls: S3, Lambda, EventBridge, Kinesis and a few names."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any, ClassVar

from obs_core.integration import fail
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind

from obs_aws._calls import Attributes, Call, Params
from obs_aws._carrier import context_headers, xray_header
from obs_aws._plan import Plan
from obs_aws._scrub import scrub

_INVOCATIONS = ("Invoke", "InvokeWithResponseStream")
#: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#lambda-Invoke-request-ClientContext
_MAX_CLIENT_CONTEXT_BYTES = 3583
#: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html, before the limit was raised
_MAX_RECORD_BYTES = 1_000_000


def named(params: Params, names: Mapping[str, str]) -> Attributes:
    """Return the parameters that are plain names, by attribute, scrubbed."""
    found = ((attribute, params.get(parameter)) for parameter, attribute in names.items())
    return {attribute: scrub(value) for attribute, value in found if isinstance(value, str)}


class NamedCall(Call):
    """Calls that are told by the ARN of what they go to."""

    def attributes(self) -> Attributes:
        """Tell the ARN; a bare name is none."""
        names = {
            "SecretId": "aws.secretsmanager.secret.arn",
            "activityArn": "aws.step_functions.activity.arn",
            "stateMachineArn": "aws.step_functions.state_machine.arn",
        }
        return {
            key: value
            for key, value in named(self.params, names).items()
            if str(value).startswith("arn:")
        }


class S3Call(Call):
    """S3: the bucket, and the key where it is asked for."""

    def attributes(self) -> Attributes:
        """Tell the bucket."""
        names = {"Bucket": "aws.s3.bucket"}
        return named(
            self.params, {**names, "Key": "aws.s3.key"} if self.plan.options.s3_keys else names
        )


class LambdaCall(Call):
    """Lambda: the context goes into ``ClientContext.custom``; the payload is the caller's, byte for byte."""

    def attributes(self) -> Attributes:
        """Tell the function."""
        function = self.params.get("FunctionName")
        if self.operation not in _INVOCATIONS or not isinstance(function, str):
            return {}
        invoked: Attributes = {
            "faas.invoked_provider": "aws",
            "faas.invoked_name": scrub(_function_name(function)),
        }
        return {**invoked, "faas.invoked_region": self.plan.region} if self.plan.region else invoked

    def carry(self, context: Context | None) -> Params:
        """Add the context to the caller's client context, where that is JSON and there is room."""
        if self.operation not in _INVOCATIONS:
            return self.params
        client_context = _client_context(self.params.get("ClientContext"), context_headers(context))
        return {**self.params, "ClientContext": client_context} if client_context else self.params

    def read(self, result: Mapping[str, Any]) -> None:
        """Record a function that failed, which AWS answers with 200."""
        if failure := result.get("FunctionError"):
            fail(self.span, failure, failure)

    @staticmethod
    def read_event(span: Span, event: Mapping[str, Any]) -> None:
        """Record a function that failed while it answered."""
        if failure := event.get("InvokeComplete", {}).get("ErrorCode"):
            fail(span, failure, failure)


def _function_name(function: str) -> str:
    """Return the bare name of ``name``, ``account:function:name[:version]`` or an ARN."""
    before, found, after = function.rpartition("function:")
    return after.partition(":")[0] if found or before else function.partition(":")[0]


def _client_context(present: object, headers: Mapping[str, str]) -> str | None:
    if not headers or not isinstance(present, (str, type(None))):
        return None
    try:
        decoded = json.loads(b64decode(present)) if present else {}
    except (Base64Error, ValueError):
        return None
    custom = decoded.get("custom", {}) if isinstance(decoded, dict) else None
    if not isinstance(custom, dict):
        return None
    encoded = b64encode(json.dumps({**decoded, "custom": {**custom, **headers}}).encode()).decode()
    return encoded if len(encoded) <= _MAX_CLIENT_CONTEXT_BYTES else None


class _SendingCall(Call):
    """Calls of a service that events are sent to: those that send are PRODUCER spans."""

    sends: ClassVar[tuple[str, ...]]

    def __init__(self, plan: Plan, operation: str, params: Params) -> None:
        super().__init__(plan, operation, params)
        if operation in self.sends:
            self.kind = SpanKind.PRODUCER

    def read(self, result: Mapping[str, Any]) -> None:
        """Record how many events were refused."""
        if failed := result.get("FailedEntryCount") or result.get("FailedRecordCount"):
            self.span.set_attribute("aws.failed_entry_count", failed)


class EventBridgeCall(_SendingCall):
    """EventBridge: events carry the context in ``TraceHeader``, in X-Ray's form, the only one AWS takes there."""

    sends = ("PutEvents",)

    def carry(self, context: Context | None) -> Params:
        """Set ``TraceHeader`` of the events that have none."""
        entries, header = self.params.get("Entries"), xray_header(context)
        if self.operation not in self.sends or not header or not isinstance(entries, (list, tuple)):
            return self.params
        return {**self.params, "Entries": [{"TraceHeader": header, **entry} for entry in entries]}

    def attributes(self) -> Attributes:
        """Count the events."""
        return (
            {"messaging.batch.message_count": len(self.params["Entries"])}
            if "Entries" in self.params
            else {}
        )


class KinesisCall(_SendingCall):
    """Kinesis: a record is bytes and nothing else, so the context is added only on request, to JSON objects."""

    sends = ("PutRecord", "PutRecords")

    def attributes(self) -> Attributes:
        """Tell the stream and count the records."""
        attributes = named(self.params, {"StreamName": "aws.kinesis.stream_name"})
        return (
            {**attributes, "messaging.batch.message_count": len(self.params["Records"])}
            if "Records" in self.params
            else attributes
        )

    def carry(self, context: Context | None) -> Params:
        """Add the context to the records' data, on request."""
        if not self.plan.options.kinesis_context or self.operation not in self.sends:
            return self.params
        headers = context_headers(context)
        if "Records" in self.params:
            return {
                **self.params,
                "Records": [_with_members(record, headers) for record in self.params["Records"]],
            }
        return _with_members(self.params, headers)


def _with_members(record: Mapping[str, Any], headers: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        data = json.loads(record["Data"])
    except (KeyError, TypeError, ValueError):
        return record
    if not headers or not isinstance(data, dict):
        return record
    encoded = json.dumps({**data, **headers}).encode()
    return {**record, "Data": encoded} if len(encoded) <= _MAX_RECORD_BYTES else record
