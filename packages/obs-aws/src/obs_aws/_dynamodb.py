"""DynamoDB: tables, settings, counts and consumed capacity; never items, keys or expressions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.util.types import AttributeValue

from obs_aws._api_call import ApiCall
from obs_aws._attributes import Attributes, Params
from obs_aws._scrub import scrub

_MAX_TABLES = 100
_SETTINGS = {
    "ConsistentRead": "aws.dynamodb.consistent_read",
    "IndexName": "aws.dynamodb.index_name",
    "Limit": "aws.dynamodb.limit",
    "ScanIndexForward": "aws.dynamodb.scan_forward",
    "Segment": "aws.dynamodb.segment",
    "Select": "aws.dynamodb.select",
    "TotalSegments": "aws.dynamodb.total_segments",
}
_COUNTS = {"Count": "aws.dynamodb.count", "ScannedCount": "aws.dynamodb.scanned_count"}


class DynamoDbCall(ApiCall):
    """A call of DynamoDB."""

    def attributes(self) -> Attributes:
        """Return operation, tables and batch size."""
        attributes: Attributes = {
            "db.system.name": "aws.dynamodb",
            "db.operation.name": self.operation,
        }
        tables = _tables(self.params)
        if tables:
            attributes["aws.dynamodb.table_names"] = tables
        if len(tables) == 1:
            attributes["db.collection.name"] = tables[0]
        if size := _batch_size(self.params):
            attributes["db.operation.batch.size"] = size
        if former := self.options.former_names:
            all_attributes = {**self.client.attributes(self.operation), **attributes}
            attributes.update(former.of(all_attributes))
        return attributes

    def read(self, result: Mapping[str, Any]) -> None:
        """Record the query's settings, and counts and consumed capacity of the response."""
        attributes = _settings(self.params)
        attributes |= {
            name: result[key] for key, name in _COUNTS.items() if key in result
        }
        if left := result.get("UnprocessedItems") or result.get("UnprocessedKeys"):
            attributes["aws.dynamodb.unprocessed_count"] = _item_count(left)
        if consumed := result.get("ConsumedCapacity"):
            attributes["aws.dynamodb.consumed_capacity"] = _capacities(consumed)
        if attributes:
            self.span.set_attributes(attributes)


def _settings(params: Params) -> Attributes:
    attributes: Attributes = {}
    for parameter, name in _SETTINGS.items():
        value: AttributeValue | None = params.get(parameter)
        if isinstance(value, str):
            attributes[name] = scrub(value)
        elif isinstance(value, int):
            attributes[name] = value
    return attributes


def _capacities(consumed: Any) -> tuple[str, ...]:
    """Return the consumed capacity of each table as JSON: the response of a batch has a list."""
    if isinstance(consumed, Mapping):
        consumed = [consumed]
    return tuple([json.dumps(capacity, default=float) for capacity in consumed])


def _tables(params: Params) -> tuple[str, ...]:
    """Return the sorted names of the tables in a call; of an ARN the name."""
    given: Iterable[object] = params.get("RequestItems") or ()
    if "TableName" in params:
        given = (params["TableName"],)
    elif transact := params.get("TransactItems"):
        given = (
            action.get("TableName") for item in transact for action in item.values()
        )
    names = {
        scrub(name).rpartition(":table/")[2] for name in given if isinstance(name, str)
    }
    return tuple(sorted(names)[:_MAX_TABLES])


def _batch_size(params: Params) -> int:
    if "RequestItems" in params:
        return _item_count(params["RequestItems"])
    return len(params.get("TransactItems") or ())


def _item_count(by_table: Mapping[str, Any]) -> int:
    """Return the number of items in the writes (lists) or reads (mappings with keys) of a batch."""
    count = 0
    for items in by_table.values():
        if isinstance(items, Mapping):
            items = items.get("Keys", ())
        count += len(items)
    return count
