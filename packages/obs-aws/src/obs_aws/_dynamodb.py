"""DynamoDB: tables, how a query runs, what it consumed; never an item, a key or an expression."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from obs_aws._calls import Attributes, Call, Params
from obs_aws._scrub import scrub
from obs_aws._semconv import with_former_names

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


class DynamoDbCall(Call):
    """A call of DynamoDB."""

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
        if self.plan.options.former_names:
            return with_former_names({**self.plan.attributes(self.operation), **attributes})
        return attributes

    def read(self, result: Mapping[str, Any]) -> None:
        """Record counts, what was throttled out of a batch, and the consumed capacity where it was asked for."""
        attributes: Attributes = {}
        for parameter, name in _SETTINGS.items():
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
