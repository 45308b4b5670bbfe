"""One trace from an API through SQS to a consumer and DynamoDB, and a batch of ten messages of three traces.

The API and the consumer are two processes, AWS is moto's server in a third, and what both export is printed as it arrived by
OTLP: ``pip install ./packages/obs-core './packages/obs-aws[instruments]' boto3 'moto[server]' && python examples/aws.py``.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from obs_aws import instrument_boto3, process_message
from obs_core import TracingConfig, setup_tracing
from obs_core.testing import OtlpSink, SinkSpan
from opentelemetry import trace

AWS = {
    "region_name": "us-east-1",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}
tracer = trace.get_tracer("example")


def client(service: str) -> Any:
    return boto3.client(service, endpoint_url=os.environ["AWS_URL"], **AWS)  # type: ignore[call-overload]


def api(queue_url: str) -> None:
    """One order by itself, then ten in three requests."""
    sqs = client("sqs")
    with tracer.start_as_current_span("POST /orders", kind=trace.SpanKind.SERVER):
        sqs.send_message(QueueUrl=queue_url, MessageBody="order-0")
    yield_to_consumer(queue_url)
    for number, size in enumerate((4, 3, 3), start=1):
        with tracer.start_as_current_span(
            f"POST /import/{number}", kind=trace.SpanKind.SERVER
        ):
            entries = [
                {"Id": str(each), "MessageBody": f"order-{number}-{each}"}
                for each in range(size)
            ]
            sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
    yield_to_consumer(queue_url)


def yield_to_consumer(queue_url: str) -> None:
    """Run the consumer, in a process of its own, until it has received what there is."""
    subprocess.run(
        [sys.executable, __file__, "consumer", queue_url], check=True, timeout=60
    )


def consumer(queue_url: str) -> None:
    """One poll: a single message is processed by itself, several as one batch."""
    sqs, database = client("sqs"), client("dynamodb")
    messages = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)[
        "Messages"
    ]
    with process_message(
        messages if len(messages) > 1 else messages[0], destination=queue_url
    ):
        orders = [
            {"PutRequest": {"Item": {"id": {"S": message["Body"]}}}}
            for message in messages
        ]
        database.batch_write_item(RequestItems={"orders": orders})
        entries = [
            {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]}
            for n, message in enumerate(messages)
        ]
        sqs.delete_message_batch(QueueUrl=queue_url, Entries=entries)


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto's server on a free loopback port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if time.monotonic() > deadline:
                raise TimeoutError("moto's server does not answer")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def prepare() -> str:
    """Make the table and the queue; return the queue's URL."""
    client("dynamodb").create_table(
        TableName="orders",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return str(client("sqs").create_queue(QueueName="orders")["QueueUrl"])


def links(spans: list[SinkSpan], name: str) -> str:
    """Say of each span of that name where its links lead."""
    roots = {span.trace_id: span.name for span in spans if not span.parent_id}
    by_id = {span.span_id: span for span in spans}
    lines = []
    for span in spans:
        if span.name == name and len(span.links) > 1:
            targets = [
                f"{roots[trace_id]} > {by_id[span_id].name}"
                for trace_id, span_id in span.links
            ]
            lines += [
                f"{name} has {len(targets)} links:",
                *(
                    f"  {targets.count(each)} x {each}"
                    for each in dict.fromkeys(targets)
                ),
            ]
    return "\n".join(lines)


def main() -> None:
    """Start AWS and the receiver, run the API, and print what has come."""
    with moto_server() as url, OtlpSink() as sink:
        environment = {**os.environ, "AWS_URL": url, "SINK_URL": sink.url}
        os.environ["AWS_URL"] = url
        subprocess.run(
            [sys.executable, __file__, "api", prepare()],
            env=environment,
            check=True,
            timeout=120,
        )
        spans = sink.wait_for(
            lambda spans: sum(span.name == "process orders" for span in spans) == 2, 30
        )
        print(sink.tree(attributes=["aws.dynamodb.table_names"]))
        for name in ("receive orders", "process orders"):
            print("\n" + links(spans, name))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        role, queue = sys.argv[1:]
        service = TracingConfig(
            service_name=f"orders-{role}",
            collector_url=os.environ["SINK_URL"],
            collector_protocol="http",
        )
        manager, _ = setup_tracing(service)
        instrument_boto3()
        {"api": api, "consumer": consumer}[role](queue)
        manager.shutdown()
