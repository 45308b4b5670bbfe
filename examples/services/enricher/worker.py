"""enricher's Celery worker: describes a run with an LLM, has it rated over gRPC, stores it in DynamoDB."""

import os

import boto3
import grpc
import redis
import tracing  # noqa: F401 - tracing before what it traces
from celery import Celery
from google.protobuf.wrappers_pb2 import DoubleValue, StringValue
from llm import describe_device
from obs_grpc import instrument_grpc_client

celery = Celery("enricher", broker=os.environ["REDIS_URL"])
celery.conf.update(
    task_default_queue="enricher",
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


def rate(text: str) -> float:
    """Ask the rating service; a channel a call, since a channel does not survive the worker's forks."""
    with grpc.insecure_channel(os.environ["RATING_TARGET"]) as channel:
        method = instrument_grpc_client(channel).unary_unary(
            "/enricher.Rating/Rate",
            request_serializer=StringValue.SerializeToString,
            response_deserializer=DoubleValue.FromString,
        )
        return float(method(StringValue(value=text), timeout=5).value)


@celery.task(name="enricher.describe")
def describe(run: str, device: str) -> None:
    description = describe_device(device)
    rating = rate(description)
    dynamodb = boto3.resource("dynamodb", endpoint_url=os.environ["DYNAMODB_URL"])
    dynamodb.Table("runs").put_item(
        Item={"run": run, "description": description, "rating": str(rating)}
    )
    redis.Redis.from_url(os.environ["REDIS_URL"]).set(f"described:{run}", description)
