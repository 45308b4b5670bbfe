"""A Celery application whose broker is SQS: ``celery --app sqs_worker worker``, or ``python sqs_worker.py`` for a request.

It is told by environment: ``AWS_URL``, ``SINK_URL``, ``QUEUE``, which is the queue's and the table's name, and
``INCLUDE_BROKER``.
"""

from __future__ import annotations

import os

import boto3
from celery import Celery
from obs_aws import instrument_boto3
from obs_celery import instrument_celery
from obs_core import TracingConfig, setup_tracing
from opentelemetry import trace

QUEUE = os.environ["QUEUE"]
URL = os.environ["AWS_URL"]
KEYS = {
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
    "region_name": "us-east-1",
}

setup_tracing(
    TracingConfig(
        service_name="sqs",
        collector_url=os.environ["SINK_URL"],
        collector_protocol="http",
    )
)
instrument_celery()
instrument_boto3(include_broker="INCLUDE_BROKER" in os.environ)
app = Celery("sqs_worker", broker=f"sqs://test:test@{URL.removeprefix('http://')}")
app.conf.update(
    task_default_queue=QUEUE,
    task_acks_late=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "region": "us-east-1",
        "is_secure": False,
        "wait_time_seconds": 1,
        "polling_interval": 0.1,
    },
)


@app.task(name="store")  # type: ignore[untyped-decorator] # untyped in Celery
def store(order: str) -> None:
    """Put one item."""
    database = boto3.client("dynamodb", endpoint_url=URL, **KEYS)  # type: ignore[call-overload]
    database.put_item(TableName=QUEUE, Item={"id": {"S": order}})


if __name__ == "__main__":
    with trace.get_tracer("api").start_as_current_span(
        "POST /orders", kind=trace.SpanKind.SERVER
    ):
        store.delay("7")
