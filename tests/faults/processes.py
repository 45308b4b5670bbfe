"""The processes of a drill: started, asked, ended, and read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from obs_core.testing import wait_until

from tests.faults.service import Load

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 60.0


class Process:
    """A module of this folder in a process of its own, whose lines are kept.

    Args:
        stack: Ends it.
        module: The module's name.
        arguments: Of the module.
        prefix: A command that runs the module in its own place.
        environment: Variables besides this process's own.
    """

    def __init__(
        self,
        stack: ExitStack,
        module: str,
        *arguments: str,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        command = [sys.executable, "-m", f"tests.faults.{module}", *arguments]
        self.popen = subprocess.Popen(
            [*prefix, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**_environment(), **(environment or {})},
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        stack.callback(self.end, signal.SIGKILL)

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.append(line.rstrip("\n"))

    def end(self, how: signal.Signals) -> None:
        """Send a signal, and wait until the process has gone and all its lines are read."""
        self.popen.send_signal(how)
        try:
            self.popen.wait(PATIENCE_S)
        finally:
            self.popen.kill()
            self.popen.wait()
            self._reader.join(PATIENCE_S)
            for pipe in (self.popen.stdin, self.popen.stdout):
                assert pipe is not None
                pipe.close()

    def ask(self, line: str) -> None:
        """Give a line, and wait for the `+` that answers it."""
        before = self.lines.count("+")
        assert self.popen.stdin is not None
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()
        wait_until(lambda: self.lines.count("+") > before)

    def names(self) -> list[str]:
        """Return the names of spans that it has printed: all that begins with a digit."""
        return [line for line in list(self.lines) if line[:1].isdigit()]


def _environment() -> dict[str, str]:
    prefixes = ("OTEL_", "OBS_CORE_")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(prefixes)
    }


def start_service(
    stack: ExitStack,
    load: Load,
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Start a service, and wait until it makes calls."""
    told = json.dumps(asdict(load))
    service = Process(stack, "service", told, prefix=prefix, environment=environment)
    wait_until(lambda: service.lines or service.popen.poll() is not None, PATIENCE_S)
    assert service.popen.poll() is None, "the service has not started"
    return service
