"""Queries of a plain script: a span each, with no span opened by hand."""

import os

import boto3
import redis
from botocore.stub import Stubber
from obs_aws import instrument_boto3
from obs_core import TracingConfig, setup_tracing
from obs_db import instrument_redis, instrument_sqlalchemy
from sqlalchemy import create_engine, text

setup_tracing(TracingConfig(service_name="myapp"))
engine = create_engine(os.environ.get("SQL_URL", "sqlite://"))
instrument_sqlalchemy(engine, service_name="myapp-db")
instrument_redis()
instrument_boto3()

if __name__ == "__main__":
    with engine.connect() as connection:
        connection.execute(text("SELECT 1 AS one WHERE 1 = :one"), {"one": 1})
    redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379/0")).set(
        "key", "value"
    )
    dynamodb = boto3.client(
        "dynamodb",
        region_name="eu-west-1",
        aws_access_key_id="demo",
        aws_secret_access_key="demo",
    )
    with Stubber(dynamodb) as stub:  # no DynamoDB is needed to see its span
        stub.add_response("get_item", {})
        dynamodb.get_item(TableName="orders", Key={"id": {"S": "1"}})
