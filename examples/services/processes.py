"""The processes of the three services: started, watched and stopped as a supervisor would."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from rich.console import Console

HERE = Path(__file__).parent
_LEGACY = ("SERVICE_", "SAMPLING_", "COLLECTOR_", "CORRELATION_")
console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)


def say(text: str) -> None:
    """Print a line of progress."""
    console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {text}")


class Services:
    """The processes of the three services."""

    def __init__(self, environment: dict[str, str], logs: Path) -> None:
        self._logs = logs
        # a developer's own settings, as a sampling rate, are not the demo's
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OTEL_", *_LEGACY))
        }
        self._environment = {**inherited, **environment, "PYTHONUNBUFFERED": "1"}
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self, name: str, folder: str, *command: str) -> None:
        """Start one process of a service; its own output is shown only when it fails."""
        log = (self._logs / name).open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=HERE / folder,
            env=self._environment,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a terminal's Ctrl-C is for the demo, which stops them in order
        )
        self._running.append((name, process))
        say(f"started [bold]{name}[/bold] (pid {process.pid})")

    def check(self) -> None:
        """Raise with its last lines when a process has ended by itself."""
        for name, process in self._running:
            if process.poll() is not None:
                lines = (self._logs / name).read_text(errors="replace").splitlines()[-15:]
                raise SystemExit(
                    f"{name} ended with status {process.returncode}:\n" + "\n".join(lines)
                )

    def wait_until(self, ready: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
        """Wait for `ready`, or fail with what a dead process last said."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise SystemExit(f"{what} did not happen within {timeout_s:g} s")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask every process to stop as a supervisor would, all at once, and wait for each."""
        for _, process in self._running:
            process.send_signal(signal.SIGTERM)
        say("all processes are told to stop; waiting for them …")
        for name, process in self._running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                say(f"[red]{name} did not stop within 15 s[/red]")


def answers(url: str) -> bool:
    """Whether an HTTP server is there."""
    try:
        httpx.get(url, timeout=1)
    except httpx.TransportError:
        return False
    return True
