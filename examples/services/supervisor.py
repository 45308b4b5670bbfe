"""The process that owns the demo's servers and services: they end with its input, however the demo ended.

It answers each line of standard input, a request in JSON, with a line of standard output.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import parts

HERE = Path(__file__).parent
STOP_TIMEOUT_S = 15


class Processes:
    """Started, watched and stopped."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}

    def start(
        self, name: str, folder: str, command: list[str], environment: dict[str, str]
    ) -> int:
        """Start one process of a service; return its pid. Its own output is kept for when it fails."""
        log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process; nameless, so that it goes with it
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=HERE / folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a group of its own, with the processes that it starts
        )
        self._running[name] = process, log
        return process.pid

    def ended(self) -> dict[str, Any]:
        """Return name, status and last lines of a process that has ended by itself; empty where none has."""
        for name, (process, log) in self._running.items():
            if process.poll() is not None:
                log.seek(0)
                lines = log.read().decode(errors="replace").splitlines()[-15:]
                return {"name": name, "status": process.returncode, "lines": lines}
        return {}

    def stop(self) -> None:
        """Ask every process to stop as a supervisor would, all at once, and wait for each."""
        for process, _ in self._running.values():
            process.terminate()
        for name, (process, _) in self._running.items():
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                with contextlib.suppress(OSError):
                    print(
                        f"{name} did not stop within {STOP_TIMEOUT_S} s",
                        file=sys.stderr,
                    )


@contextlib.contextmanager
def started() -> Iterator[tuple[Processes, dict[str, str]]]:
    """Run the servers; stop the services before them."""
    with parts.servers() as environment:
        processes = Processes()
        try:
            yield processes, environment
        finally:
            processes.stop()


def answer(message: object) -> None:
    """Answer the demo."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until standard input ends: the demo has closed it, or is gone."""
    # a terminal's signals are for the demo, which then closes the input
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(BrokenPipeError), started() as (processes, environment):
        answer(environment)
        for line in sys.stdin:
            request = json.loads(line)
            answer(processes.start(**request) if request else processes.ended())


if __name__ == "__main__":
    main()
