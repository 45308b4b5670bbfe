"""The processes of the three services, as the demo sees them; the supervisor owns them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

_LEGACY = ("SERVICE_", "SAMPLING_", "COLLECTOR_", "CORRELATION_")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)


def say(text: str) -> None:
    """Print a line of progress; where the terminal is gone there is nobody to read it."""
    with contextlib.suppress(OSError):
        console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {text}")


def interrupt_when_told() -> None:
    """Make Ctrl-C of all that ends the demo: SIGTERM, a closed terminal, the end of the process that started it."""
    for number in _SIGNALS:  # a shell's background job ignores the first
        signal.signal(number, signal.default_int_handler)
    watch = threading.Thread(
        target=_wait_for_another_parent, args=(os.getppid(),), daemon=True
    )
    watch.start()


def _wait_for_another_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore what ends the demo: a second Ctrl-C must not end the wait for the first."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Services:
    """The servers and services, below a supervisor that stops them when the demo is gone; a context manager."""

    def __init__(self) -> None:
        """Start the supervisor; `environment` is that of the services."""
        # a developer's own settings, as a sampling rate, are not the demo's
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OTEL_", *_LEGACY))
        }
        self._supervisor = subprocess.Popen(
            [sys.executable, "-m", "supervisor"],
            cwd=Path(__file__).parent,
            env={**inherited, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a terminal's Ctrl-C is for the demo
        )
        self._pids: list[int] = []
        self.environment: dict[str, str] = {}

    def __enter__(self) -> "Services":
        return self

    def __exit__(self, *_: object) -> None:
        with uninterrupted():
            self.stop()

    def wait_for_servers(self) -> dict[str, str]:
        """Return the addresses of Redis and PostgreSQL, as environment variables."""
        return dict(self._answer())

    def start(self, name: str, folder: str, *command: str) -> None:
        """Start one process of a service; its own output is shown only when it fails."""
        request = {
            "name": name,
            "folder": folder,
            "command": command,
            "environment": self.environment,
        }
        self._pids.append(self._ask(request))
        say(f"started [bold]{name}[/bold] (pid {self._pids[-1]})")

    def check(self) -> None:
        """Raise with its last lines when a process has ended by itself."""
        ended = self._ask({})
        if ended:
            lines = "\n".join(ended["lines"])
            raise SystemExit(
                f"{ended['name']} ended with status {ended['status']}:\n{lines}"
            )

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._supervisor.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._supervisor.stdin.write(json.dumps(request).encode() + b"\n")
            self._supervisor.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._supervisor.stdout is not None
        line = self._supervisor.stdout.readline()
        if not line:
            raise SystemExit(
                f"the supervisor has ended with status {self._supervisor.wait()}"
            )
        return json.loads(line)

    def wait_until(
        self, ready: Callable[[], bool], what: str, timeout_s: float = 60
    ) -> None:
        """Wait for `ready`, or fail with what a dead process last said."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise SystemExit(f"{what} did not happen within {timeout_s:g} s")
            time.sleep(0.05)

    def stop(self) -> None:
        """Have every process stopped, and wait for it."""
        assert self._supervisor.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._supervisor.stdin.close()
        say("all processes are told to stop; waiting for them …")
        if self._supervisor.wait() < 0:
            self._stop_orphans()

    def _stop_orphans(self) -> None:
        """Ask the services of a killed supervisor to stop."""
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGTERM)


def answers(url: str) -> bool:
    """Whether an HTTP server is there."""
    try:
        httpx.get(url, timeout=1)
    except httpx.TransportError:
        return False
    return True
