"""Real peers: moto's server in its own process, and clients of it."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4
from zlib import crc32

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.stub import Stubber
from obs_aws import instrument_boto3
from obs_core.testing import SpanRecorder

from tests.services import free_port, wait_for_port

CREDENTIALS = {
    "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "aws_secret_access_key": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
    "region_name": "us-east-1",
}
Client = Any
MakeClient = Callable[..., Client]
MakeStub = Callable[..., Any]
ServeEvents = Callable[[list[bytes]], str]


@cache
def _shared_session() -> boto3.Session:
    return boto3.Session()


@pytest.fixture(scope="session")
def aws_url() -> Iterator[str]:
    """Moto's server on a free loopback port; its state is shared by the session's tests, so names are unique."""
    port = free_port()
    environment = {**os.environ, "MOTO_CALL_RESET_API": "false"}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_port(port, 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def make_client(aws_url: str) -> MakeClient:
    """Make a boto3 client of moto's server, of one shared session unless another is given."""

    def make(
        service: str, session: boto3.Session | None = None, **options: Any
    ) -> Client:
        maker = session or _shared_session()
        settings = {**CREDENTIALS, "endpoint_url": aws_url, **options}
        return maker.client(service, **settings)

    return make


def aio_session() -> Any:
    """Return a new aiobotocore session; where aiobotocore does not run on the botocore under test, the test is skipped."""
    return pytest.importorskip("aiobotocore.session").get_session()


def aio_client(service: str, url: str) -> Any:
    """Return an asynchronous client, to be entered, of the server at `url`."""
    return aio_session().create_client(service, endpoint_url=url, **CREDENTIALS)


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"t-{uuid4().hex[:10]}"


@pytest.fixture
def queue_url(make_client: MakeClient, name: str) -> str:
    """An SQS queue of this test."""
    url: str = make_client("sqs").create_queue(QueueName=name)["QueueUrl"]
    return url


@pytest.fixture
def table(make_client: MakeClient, name: str) -> str:
    """A DynamoDB table of this test, with key ``id``."""
    make_client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


@pytest.fixture
def traced(spans: SpanRecorder) -> Iterator[SpanRecorder]:
    """Everything instrumented with the default options, and the spans of the test."""
    handle = instrument_boto3()
    yield spans
    handle.uninstrument()


@pytest.fixture
def make_stub() -> Callable[..., tuple[Client, Stubber]]:
    """Make a client whose answers are scripted, and its activated Stubber."""

    def make(service: str) -> tuple[Client, Stubber]:
        client = botocore.session.Session().create_client(
            service, config=Config(retries={"max_attempts": 1}), **CREDENTIALS
        )
        stubber = Stubber(client)
        stubber.activate()
        return client, stubber

    return make


def exported(spans: SpanRecorder) -> str:
    """Everything that would leave the process, as one text."""
    return json.dumps([json.loads(span.to_json()) for span in spans.finished])


def frame(
    kind: str, payload: Mapping[str, Any] | bytes, message: str = "event"
) -> bytes:
    """One message of the protocol that AWS streams events in: application/vnd.amazon.eventstream."""
    headers = b"".join(
        struct.pack(
            f"!B{len(name)}sBH{len(value)}s",
            len(name),
            name.encode(),
            7,
            len(value),
            value.encode(),
        )
        for name, value in (
            (":message-type", message),
            (f":{message}-type", kind),
            (":content-type", "application/json"),
        )
    )
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    prelude += struct.pack("!I", crc32(prelude))
    whole = prelude + headers + body
    return whole + struct.pack("!I", crc32(whole))


@contextmanager
def _event_server(frames: list[bytes]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.amazon.eventstream")
            self.end_headers()
            with suppress(OSError):  # a test may close the connection meanwhile
                for each in frames:
                    self.wfile.write(each)
                    self.wfile.flush()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def serve_events() -> Iterator[ServeEvents]:
    """Start a server that answers every call with the given frames; returns its URL."""
    with ExitStack() as servers:
        yield lambda frames: servers.enter_context(_event_server(frames))
