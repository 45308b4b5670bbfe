"""The demo shows what its README says: each request is one whole trace, nothing is lost at the stop, nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import psutil
import pytest
from obs_core.testing import wait_until

DEMO = Path(__file__).parent.parent / "examples" / "services" / "demo.py"
ENVIRONMENT = {**os.environ, "COLUMNS": "160", "NO_COLOR": "1", "PYTHONUTF8": "1"}
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        sys.version_info < (3, 11), reason="the demo's Redis needs Python 3.11"
    ),
]


@pytest.fixture(scope="module")
def output() -> str:
    """What the demo prints; it stops every process right after its last task."""
    done = subprocess.run(
        [sys.executable, str(DEMO)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tree(output: str, request: str) -> str:
    """The part of the output that shows one request's trace."""
    (found,) = re.findall(
        rf"^─+ {request}: .*?(?=^─)", output, re.MULTILINE | re.DOTALL
    )
    return str(found)


def test_contribs_spans_are_in_the_same_whole_trace() -> None:
    """By the environment alone: Redis in genymotion, DynamoDB in the enricher."""
    done = subprocess.run(
        [sys.executable, str(DEMO)],
        env={**ENVIRONMENT, "OBS_IMPLEMENTATION": "redis=contrib,boto3=contrib"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "each request is one whole trace" in done.stdout
    for library in ("redis", "botocore"):
        assert f"opentelemetry.instrumentation.{library}" in done.stdout


def test_each_request_is_one_whole_trace(output: str) -> None:
    """Three requests, three traces, all services."""
    assert "3 requests → 3 traces" in output
    assert "each request is one whole trace" in output


def test_good_request_goes_through_every_service_in_order(output: str) -> None:
    """HTTP → HTTP → SQL → publish → process → body → … → LLM, gRPC and DynamoDB, in one tree of 20 spans and more."""
    wanted = [
        "POST /runs",
        "POST /devices",
        "INSERT devices",
        "publish genymotion.boot",
        "process genymotion.boot",
        "UPDATE devices",
        "process enricher.describe",
        "chat gpt-4o-mini",
        "enricher.Rating/Rate",
        "DynamoDB.PutItem",
    ]
    good = tree(output, "good")
    positions = [good.find(name) for name in wanted]
    assert -1 not in positions, dict(zip(wanted, positions, strict=True))
    assert int(re.findall(r"· (\d+) spans ·", good)[0]) >= 20
    assert (
        len(
            re.findall(
                "^trace [0-9a-f]{32} · correlation demo-good$", good, re.MULTILINE
            )
        )
        == 1
    )


def names(text: str) -> list[str]:
    """The spans of a printed tree, sorted, but for Redis's, whose number is its client's business."""
    rows = (
        line.lstrip("│├└─ ") for line in text.splitlines() if re.search("[━╸]", line)
    )
    return sorted(
        name
        for name in (re.split(r" {2,}", row)[0] for row in rows)
        if not re.fullmatch("[A-Z]+", name)
    )


def test_tree_in_the_readme_is_the_one_that_is_printed(output: str) -> None:
    """Span by span."""
    page = (DEMO.parent / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^POST /runs · .*?(?=^```)", page, re.MULTILINE | re.DOTALL)
    assert len(names(shown)) > 15
    assert names(shown) == names(tree(output, "good"))


def test_signed_in_user_is_on_every_server_span(output: str) -> None:
    """The load balancer names the user once; HTTP, both tasks and gRPC carry them on."""
    servers = {"good": 3, "failing": 2, "slow": 3}
    for request, count in servers.items():
        assert re.search(
            rf"^ {request} .* dana@example.com, {count} of {count} ",
            output,
            re.MULTILINE,
        ), request


def test_every_package_has_made_spans(output: str) -> None:
    """Nobody's part is missing."""
    (makers,) = re.findall("^spans made by (.*)$", output, re.MULTILINE)
    assert re.findall(r"obs_\w+", makers) == [
        "obs_aws",
        "obs_celery",
        "obs_core",
        "obs_db",
        "obs_grpc",
        "obs_http",
    ]


def test_failing_request_shows_both_attempts_and_the_exception(output: str) -> None:
    """The retried attempt and the last one stand in the same trace, with the error's type."""
    failing = tree(output, "failing")
    assert failing.count("process genymotion.boot") >= 2
    assert "DeviceUnreachableError" in failing


def test_slow_request_says_which_query_and_who_sent_it(output: str) -> None:
    """The remark stands below the query's span."""
    slow = tree(output, "slow")
    assert re.search(
        r"obs\.db\.slow_statement: db\.duration=0\.[7-9].* file\.path=storage\.py", slow
    )


def command_of(process: psutil.Process) -> str:
    """The command of a process, empty where it has ended."""
    try:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        pass
    return ""


class Kept:
    """A running ``obs-view demo``; what it starts can be told by the folder that it keeps everything in.

    `process` is the demo itself, or what started it.
    """

    def __init__(self, process: subprocess.Popen[str], folder: str) -> None:
        self.process, self._folder = process, folder
        assert process.stdout is not None
        self._stdout: IO[str] = process.stdout
        self._started: set[psutil.Process] = set()

    def wait_until_nothing_is_left(self) -> None:
        """Neither a process nor one of its folders, in time."""
        wait_until(
            lambda: not self._everything_left(), 100, message=self._describe_left
        )

    def _everything_left(self) -> list[object]:
        return [*self.left(), *map(str, Path(self._folder).glob("obs-demo-*"))]

    def _describe_left(self) -> str:
        return f"left: {self._everything_left()}"

    def remember(self) -> None:
        """Note what runs now, as a process that has lost its parent is found no more."""
        self._started = set(self._running())
        assert self._started

    def read_until(self, text: str) -> str:
        """Return the output up to the line that has `text`."""
        read = ""
        while text not in read:
            line = self._stdout.readline()
            assert line, f"ended after:\n{read}"
            read += line
        return read

    def interrupt(self, then: signal.Signals) -> int:
        """Press Ctrl-C; once all is told to stop, send `then`; return the exit status."""
        self.remember()
        os.killpg(self.process.pid, signal.SIGINT)
        self.read_until("told to stop")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, then)
        self.process.communicate(timeout=100)
        return self.process.returncode

    def left(self) -> list[str]:
        """Return the commands that still run."""
        return [
            line
            for process in {*self._running(), *self._started}
            if (line := command_of(process))
        ]

    def _running(self) -> Iterator[psutil.Process]:
        """Yield the processes below the demo, and those that have left it, as PostgreSQL does."""
        with contextlib.suppress(psutil.NoSuchProcess):
            yield from psutil.Process(self.process.pid).children(recursive=True)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(
                    self._folder in part for part in (*process.cmdline(), process.cwd())
                ):
                    yield process


COMMAND = [sys.executable, "-m", "obs_view", "demo", "--port", "0", "--grpc-port", "0"]
# what a shell, nox or make is to the demo: a process that waits for it
PARENT = [sys.executable, "-c", f"import subprocess; subprocess.call({COMMAND!r})"]
# a login shell of its own terminal, which is standard input; output is read by the test
IN_A_TERMINAL = """
import fcntl, os, subprocess, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[Kept]:
    """Run the demo by `command`, in a temporary folder that it keeps everything in."""
    folder = tempfile.mkdtemp(prefix="demo")  # short: PostgreSQL's socket is in it
    process = subprocess.Popen(
        command,
        env={**ENVIRONMENT, "TMPDIR": folder, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    try:
        yield Kept(process, folder)
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=100)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def kept() -> Iterator[Kept]:
    """``obs-view demo`` on free ports."""
    with running(COMMAND, start_new_session=True) as demo:
        yield demo


@pytest.mark.promise("VIEW-08")
def test_kept_demo_shows_its_traces_leaves_the_page_open_and_nothing_behind(
    kept: Kept,
) -> None:
    """The trees come while all runs on; a further request gets its tree too; Ctrl-C stops everything."""
    shown = kept.read_until("Ctrl-C stops everything")
    assert "each request is one whole trace" in shown
    (page,) = re.findall(r"^The page: (\S+)", shown, re.MULTILINE)
    (listed,) = httpx.get(
        f"{page}/api/traces", params={"q": "correlation_id=demo-good"}, trust_env=False
    ).json()["traces"]
    assert set(listed["services"]) == {"test-management", "genymotion", "enricher"}
    (url,) = re.findall(r"curl -X POST '(\S+)'", shown)
    answer = httpx.post(
        url, headers={"X-Correlation-ID": "mine"}, timeout=30, trust_env=False
    )
    assert answer.status_code == 202
    kept.read_until("correlation mine")
    assert kept.interrupt(then=signal.SIGINT) == 0
    assert kept.left() == []


def test_ctrl_c_while_all_is_starting_leaves_nothing_behind(kept: Kept) -> None:
    """However impatiently it is pressed; the status is the shell's for an interrupt."""
    kept.read_until("started test-management")
    assert kept.interrupt(then=signal.SIGINT) == 130
    assert kept.left() == []


def test_killed_while_it_stops_it_leaves_nothing_behind(kept: Kept) -> None:
    """As nox kills what does not end within half a second of Ctrl-C: all is told to stop already, and stops by itself."""
    kept.read_until("the services are ready")
    assert kept.interrupt(then=signal.SIGKILL) == -signal.SIGKILL
    kept.wait_until_nothing_is_left()


@pytest.mark.promise("VIEW-08")
def test_a_closed_terminal_leaves_nothing_behind() -> None:
    """The terminal's window is closed: the kernel sends SIGHUP."""
    master, slave = pty.openpty()
    command = [sys.executable, "-c", IN_A_TERMINAL, *COMMAND]
    with running(command, stdin=slave) as demo:
        os.close(slave)
        demo.read_until("Ctrl-C stops everything")
        demo.remember()
        os.close(master)
        demo.wait_until_nothing_is_left()


@pytest.mark.promise("VIEW-08")
@pytest.mark.parametrize(
    "moment", ["started test-management", "Ctrl-C stops everything"]
)
def test_a_killed_demo_leaves_nothing_behind(kept: Kept, moment: str) -> None:
    """SIGKILL, which it cannot handle, while it starts and while it runs: all that it started stops by itself."""
    kept.read_until(moment)
    kept.remember()
    kept.process.kill()
    kept.wait_until_nothing_is_left()


@pytest.mark.promise("VIEW-08")
def test_a_killed_parent_leaves_nothing_behind() -> None:
    """SIGKILL of nox, make or the shell: the demo notices that its parent is gone."""
    with running(PARENT, start_new_session=True) as demo:
        demo.read_until("Ctrl-C stops everything")
        demo.remember()
        demo.process.kill()
        demo.wait_until_nothing_is_left()


@pytest.mark.promise("VIEW-08")
def test_a_killed_supervisor_leaves_nothing_behind(kept: Kept) -> None:
    """Of the demo's two own processes the other one: the demo ends, and says why."""
    kept.read_until("Ctrl-C stops everything")
    kept.remember()
    (supervisor,) = (
        child
        for child in psutil.Process(kept.process.pid).children()
        if "supervisor" in child.cmdline()
    )
    supervisor.kill()
    kept.read_until("supervisor has ended")
    assert kept.process.wait(100) == 1
    kept.wait_until_nothing_is_left()


def test_taken_port_is_named_before_anything_starts() -> None:
    """With what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, str(DEMO), "--port", str(taken.getsockname()[1])]
        done = subprocess.run(
            command, env=ENVIRONMENT, capture_output=True, text=True, timeout=100
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert "choose another with --port" in done.stderr
