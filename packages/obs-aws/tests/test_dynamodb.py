"""DynamoDB: tables, counts and consumed capacity are recorded, items never."""

from __future__ import annotations

import json

import boto3
import pytest
from obs_aws import instrument_boto3
from obs_core.testing import SpanRecorder

from .conftest import CREDENTIALS, MakeClient, MakeStub, exported

ITEM = {"id": {"S": "item-secret-1"}, "note": {"S": "item-secret-2"}}


@pytest.mark.promise("AWS-02")
def test_tables_of_every_kind_of_call(
    make_client: MakeClient, table: str, name: str, traced: SpanRecorder
) -> None:
    """Single, batch and transaction calls name their tables, the batches their size, and none an item."""
    client = make_client("dynamodb")
    key = {"id": ITEM["id"]}
    client.put_item(TableName=table, Item=ITEM)
    client.query(
        TableName=table,
        KeyConditionExpression="id = :i",
        ExpressionAttributeValues={":i": ITEM["id"]},
        Limit=5,
    )
    client.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": ITEM}}]})
    client.batch_get_item(RequestItems={table: {"Keys": [key]}})
    client.transact_write_items(
        TransactItems=[{"Put": {"TableName": table, "Item": ITEM}}]
    )
    client.transact_get_items(TransactItems=[{"Get": {"TableName": table, "Key": key}}])
    client.update_item(
        TableName=table, Key=key, UpdateExpression="SET #n = :n", ExpressionAttributeNames={"#n": "note"},
        ExpressionAttributeValues={":n": {"S": "item-secret-3"}},
    )  # fmt: skip
    client.execute_statement(
        Statement=f"SELECT * FROM \"{table}\" WHERE id = 'item-secret-1'"
    )
    calls = [span for span in traced if span.name != "DynamoDB.CreateTable"]
    *named, statement = [span.attributes or {} for span in calls]
    assert {attributes["aws.dynamodb.table_names"] for attributes in named} == {
        (table,)
    }
    assert {attributes["db.collection.name"] for attributes in named} == {table}
    assert [attributes.get("db.operation.batch.size") for attributes in named] == [
        None,
        None,
        1,
        1,
        1,
        1,
        None,
    ]
    assert statement["db.operation.name"] == "ExecuteStatement"
    assert (traced.one("DynamoDB.Query").attributes or {})["aws.dynamodb.limit"] == 5
    assert (traced.one("DynamoDB.Query").attributes or {})["aws.dynamodb.count"] == 1
    assert "item-secret" not in exported(traced)


@pytest.mark.promise("AWS-02")
def test_several_tables(make_stub: MakeStub, traced: SpanRecorder) -> None:
    """A transaction over several tables names each once, in order; what a batch left over is counted."""
    client, stubber = make_stub("dynamodb")
    actions = [
        {"Put": {"TableName": "lines", "Item": ITEM}},
        {"Delete": {"TableName": "heads", "Key": ITEM}},
        {
            "ConditionCheck": {
                "TableName": "lines",
                "Key": ITEM,
                "ConditionExpression": "x",
            }
        },
    ]
    stubber.add_response("transact_write_items", {})
    client.transact_write_items(TransactItems=actions)
    stubber.add_response(
        "batch_write_item",
        {"UnprocessedItems": {"heads": [{"PutRequest": {"Item": ITEM}}] * 2}},
    )
    client.batch_write_item(
        RequestItems={"heads": [{"PutRequest": {"Item": ITEM}}] * 3}
    )
    stubber.add_response(
        "batch_get_item", {"UnprocessedKeys": {"heads": {"Keys": [ITEM]}}}
    )
    client.batch_get_item(RequestItems={"heads": {"Keys": [ITEM]}})
    assert (traced.one("DynamoDB.TransactWriteItems").attributes or {})[
        "aws.dynamodb.table_names"
    ] == ("heads", "lines")
    assert (traced.one("DynamoDB.BatchWriteItem").attributes or {})[
        "aws.dynamodb.unprocessed_count"
    ] == 2
    assert (traced.one("DynamoDB.BatchGetItem").attributes or {})[
        "aws.dynamodb.unprocessed_count"
    ] == 1
    assert "item-secret" not in exported(traced)


@pytest.mark.promise("AWS-02")
def test_consumed_capacity_when_asked_for(
    make_client: MakeClient, table: str, traced: SpanRecorder, aws_url: str
) -> None:
    """What AWS answers of the capacity is recorded, of client and resource; nothing where it was not asked for."""
    client = make_client("dynamodb")
    client.query(
        TableName=table,
        KeyConditionExpression="id = :i",
        ExpressionAttributeValues={":i": ITEM["id"]},
    )
    asked = {"ReturnConsumedCapacity": "TOTAL", "KeyConditionExpression": "id = :i"}
    client.query(TableName=table, ExpressionAttributeValues={":i": ITEM["id"]}, **asked)
    resource = (
        boto3.Session()
        .resource("dynamodb", endpoint_url=aws_url, **CREDENTIALS)
        .Table(table)
    )
    resource.query(ExpressionAttributeValues={":i": "1"}, **asked)
    without, *with_it = [
        (span.attributes or {}).get("aws.dynamodb.consumed_capacity")
        for span in traced.named("DynamoDB.Query")
    ]
    assert without is None
    assert [
        json.loads(each[0])["TableName"] for each in with_it if isinstance(each, tuple)
    ] == [
        table,
        table,
    ]


@pytest.mark.promise("AWS-11")
@pytest.mark.parametrize(
    ("opt_in", "former"),
    [
        ("database/dup", {"db.system": "dynamodb", "db.operation": "ListTables"}),
        ("http, database/dup", {"db.system": "dynamodb", "db.operation": "ListTables"}),
        ("database", {}),
        ("", {}),
    ],
)
def test_former_names_on_request(
    make_client: MakeClient,
    spans: SpanRecorder,
    monkeypatch: pytest.MonkeyPatch,
    opt_in: str,
    former: dict[str, str],
) -> None:
    """Under `database/dup` a DynamoDB call has the former names beside the stable ones; calls of no database have none."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opt_in)
    handle = instrument_boto3()
    make_client("dynamodb").list_tables()
    make_client("sqs").list_queues()
    handle.uninstrument()
    attributes = dict(spans.one("DynamoDB.ListTables").attributes or {})
    if former:
        former |= {
            "net.peer.name": attributes["server.address"],
            "net.peer.port": attributes["server.port"],
        }
    names = ("db.system", "db.operation", "net.peer.name", "net.peer.port")
    assert {key: attributes[key] for key in names if key in attributes} == former
    assert attributes["db.system.name"] == "aws.dynamodb"
    assert not {*names, "db.system.name"} & set(
        spans.one("SQS.ListQueues").attributes or {}
    )
