"""What is particular about services whose calls are calls: DynamoDB, S3, Lambda, EventBridge, Kinesis and a few names."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from obs_aws._calls import Attributes, Call, Params
from obs_aws._carrier import context_headers, xray_header
from obs_aws._scrub import scrub

_MAX_TABLES = 100
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


class DynamoDbCall(Call):
    """DynamoDB: tables, how a query runs, what it consumed; never an item, a key or an expression."""

    def attributes(self) -> Attributes:
        """Tell the tables and the plain settings of the query."""
        params = self.params
        attributes: Attributes = {
            "db.system.name": "aws.dynamodb",
            "db.operation.name": self.operation,
        }
        tables = _tables(params)
        if tables:
            attributes["aws.dynamodb.table_names"] = tables
        if len(tables) == 1:
            attributes["db.collection.name"] = tables[0]
        if size := _batch_size(params):
            attributes["db.operation.batch.size"] = size
        return attributes

    def read(self, result: Mapping[str, Any]) -> None:
        """Record counts, what was throttled out of a batch, and the consumed capacity where it was asked for."""
        attributes: Attributes = {}
        for parameter, name in _DYNAMODB_SETTINGS.items():
            if isinstance(value := self.params.get(parameter), (str, int)):
                attributes[name] = scrub(value) if isinstance(value, str) else value
        for key, name in (("Count", "count"), ("ScannedCount", "scanned_count")):
            if key in result:
                attributes[f"aws.dynamodb.{name}"] = result[key]
        if left := result.get("UnprocessedItems") or result.get("UnprocessedKeys"):
            attributes["aws.dynamodb.unprocessed_count"] = sum(
                len(items.get("Keys", ()) if isinstance(items, dict) else items)
                for items in left.values()
            )
        if consumed := result.get("ConsumedCapacity"):
            each = [consumed] if isinstance(consumed, Mapping) else consumed
            attributes["aws.dynamodb.consumed_capacity"] = [
                json.dumps(capacity, default=float) for capacity in each
            ]
        if attributes:
            self.span.set_attributes(attributes)


_DYNAMODB_SETTINGS = {
    "ConsistentRead": "aws.dynamodb.consistent_read",
    "IndexName": "aws.dynamodb.index_name",
    "Limit": "aws.dynamodb.limit",
    "ScanIndexForward": "aws.dynamodb.scan_forward",
    "Segment": "aws.dynamodb.segment",
    "Select": "aws.dynamodb.select",
    "TotalSegments": "aws.dynamodb.total_segments",
}


def _tables(params: Params) -> list[str]:
    """Return the tables' names, sorted, each once; of an ARN the name."""
    names: Iterable[object] = params.get("RequestItems") or ()
    if "TableName" in params:
        names = (params["TableName"],)
    elif transact := params.get("TransactItems"):
        names = (action.get("TableName") for item in transact for action in item.values())
    return sorted(
        {scrub(name).rpartition(":table/")[2] for name in names if isinstance(name, str)}
    )[:_MAX_TABLES]


def _batch_size(params: Params) -> int:
    if "RequestItems" in params:
        return sum(
            len(given.get("Keys", ()) if isinstance(given, Mapping) else given)
            for given in params["RequestItems"].values()
        )
    return len(params.get("TransactItems") or ())


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
            _fail(self.span, failure)

    @staticmethod
    def read_event(span: Span, event: Mapping[str, Any]) -> None:
        """Record a function that failed while it answered."""
        if failure := event.get("InvokeComplete", {}).get("ErrorCode"):
            _fail(span, failure)


def _fail(span: Span, failure: str) -> None:
    span.set_attribute("error.type", failure)
    span.set_status(Status(StatusCode.ERROR, failure))


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


class EventBridgeCall(Call):
    """EventBridge: events carry the context in ``TraceHeader``, in X-Ray's form, the only one AWS takes there."""

    kind = SpanKind.PRODUCER

    def carry(self, context: Context | None) -> Params:
        """Set ``TraceHeader`` of the events that have none."""
        entries, header = self.params.get("Entries"), xray_header(context)
        if self.operation != "PutEvents" or not header or not isinstance(entries, (list, tuple)):
            return self.params
        return {**self.params, "Entries": [{"TraceHeader": header, **entry} for entry in entries]}

    def attributes(self) -> Attributes:
        """Count the events."""
        return (
            {"messaging.batch.message_count": len(self.params["Entries"])}
            if "Entries" in self.params
            else {}
        )

    def read(self, result: Mapping[str, Any]) -> None:
        """Record how many events were refused."""
        if failed := result.get("FailedEntryCount") or result.get("FailedRecordCount"):
            self.span.set_attribute("aws.failed_entry_count", failed)


class KinesisCall(EventBridgeCall):
    """Kinesis: a record is bytes and nothing else, so the context is added only on request, to JSON objects."""

    kind = SpanKind.PRODUCER

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
        if not self.plan.options.kinesis_context or self.operation not in (
            "PutRecord",
            "PutRecords",
        ):
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
