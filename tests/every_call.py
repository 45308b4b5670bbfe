"""A process that makes one call of every kind, each below a span of the call's name.

``REDIS_URL``, ``DATABASE_URL`` and ``AWS_URL`` name the servers; the settings are those of the environment, the exporter's too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import grpc
import httpx
import redis
import requests
from celery import Celery
from celery.contrib.testing.worker import start_worker
from fastapi import FastAPI
from obs_core import TracingConfig, setup_tracing, trace_llm
from opentelemetry import trace
from sqlalchemy import create_engine, text
from starlette.testclient import TestClient

TABLE = {
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}


def main() -> None:
    """Make the calls, and export their spans."""
    manager, _ = setup_tracing(TracingConfig.from_env(), instrument="auto")
    for call in (postgresql, sqlite, redis_, dynamodb, s3, http, rpc, celery, llm, web):
        with trace.get_tracer("every_call").start_as_current_span(call.__name__):
            call()
    manager.shutdown()


def postgresql() -> None:
    query(create_engine(os.environ["DATABASE_URL"]))


def sqlite() -> None:
    query(create_engine("sqlite://"))


def query(engine: Any) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()


def redis_() -> None:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.get("key")
        client.pipeline().get("key").get("other").execute()


def aws(service: str) -> Any:
    return boto3.client(service, endpoint_url=os.environ["AWS_URL"])


def dynamodb() -> None:
    client = aws("dynamodb")
    client.create_table(TableName="every-call", **TABLE)
    client.put_item(TableName="every-call", Item={"id": {"S": "1"}})
    client.delete_table(TableName="every-call")


def s3() -> None:
    aws("s3").list_buckets()


@contextmanager
def http_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_address[1]}/orders?token=1"
    server.shutdown()
    server.server_close()


def http() -> None:
    with http_server() as url:
        httpx.get(url)
        requests.get(url, timeout=5)


def rpc() -> None:
    def greet(request: bytes, context: object) -> bytes:
        return request

    handlers = {"Greet": grpc.unary_unary_rpc_method_handler(greet)}
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("every.Greeter", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        channel.unary_unary("/every.Greeter/Greet")(b"", timeout=5)
    server.stop(None).wait()


def celery() -> None:
    app = Celery("every", broker="memory://", backend="cache+memory://")

    @app.task(name="orders.ship", shared=False)
    def ship() -> None: ...

    with start_worker(app, perform_ping_check=False, shutdown_timeout=30):
        ship.delay().get(timeout=30)


def llm() -> None:
    @trace_llm(provider="openai", model="gpt-5")
    def ask() -> Iterator[dict[str, Any]]:
        yield {"model": "gpt-5", "choices": [{"delta": {"content": "hi"}}]}
        usage = {"prompt_tokens": 3, "completion_tokens": 1}
        yield {"model": "gpt-5", "usage": usage}

    list(ask())


def web() -> None:
    app = FastAPI()

    @app.get("/orders/{order}")
    def order(order: str) -> str:
        return order

    with TestClient(app, base_url="http://shop.test:8000") as client:
        client.get("/orders/7")


if __name__ == "__main__":
    main()
