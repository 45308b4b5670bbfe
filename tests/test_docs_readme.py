"""The README's sample as a reader pastes it: the file, and each command below it in a terminal of its own.

Only the ports differ, which are free ones, and the broker: `CELERY_BROKER_URL` counts before the code.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from obs_core.testing import OtlpSink

from tests.services import free_port
from tests.terminals import ROOT, answers, blocks, terminal, tree_of, wait_for

PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
READMES = [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md"))]
# what a first sample had better not have: nine of ten requests vanish, and the environment's collector is not asked
NOT_FIRST = ("sampling_rate", "collector_url")
SCREEN = 40
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def surroundings(home: Path, redis_url: str) -> dict[str, str]:
    """A new user's environment, but for the broker's address."""
    return {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "CELERY_BROKER_URL": redis_url,
    }


def printed(log: Path) -> str:
    """The last tree that the viewer has printed of the order: a later span prints it again."""
    trees = re.findall(
        r"^POST /orders.*?(?=\n\n|\Z)", log.read_text(), re.DOTALL | re.MULTILINE
    )
    return trees[-1] if trees else ""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> str:
    """What the first terminal shows of the request."""
    folder = tmp_path_factory.mktemp("pasted")
    (folder / "orders.py").write_text(blocks(PAGE, "python")[0], encoding="utf-8")
    view, worker, api, request = blocks(PAGE, "console")[1].splitlines()
    http, grpc, port = free_port(), free_port(), free_port()
    environment = surroundings(folder, redis_url)
    environment[ENDPOINT] = f"http://127.0.0.1:{grpc}"
    logs = [folder / name for name in ("view", "worker", "api")]
    commands = [f"{view} --port {http} --grpc-port {grpc}", worker, api]
    with ExitStack() as stack:
        for command, log in zip(commands, logs, strict=True):
            typed = command.replace("8000", str(port))
            stack.enter_context(terminal(typed, environment, log, folder))
        wait_for(lambda: answers(f"http://127.0.0.1:{http}/"), *logs)
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/docs"), *logs)
        typed = request.replace("8000", str(port))
        subprocess.run(["bash", "-ec", typed], env=environment, check=True, timeout=60)
        wait_for(lambda: "process orders.ship" in printed(logs[0]), *logs)
    return printed(logs[0])


@pytest.mark.promise("CORE-120")
def test_the_readmes_sample_runs_as_pasted(shown: str) -> None:
    """The README's file and its commands give the tree below them: request and task are one trace, the first one sent."""
    assert tree_of(shown) == tree_of(blocks(PAGE, "text")[0])


def test_code_stands_on_the_first_screen() -> None:
    """A reader sees the sample's set-up and its application without scrolling."""
    screen = PAGE.splitlines()[:SCREEN]
    assert "setup_tracing(" in "\n".join(screen)
    assert "@app.task" in screen


@pytest.mark.promise("CORE-120")
def test_obs_celerys_sample_runs_as_pasted(
    tmp_path: Path, redis_url: str, otlp_sink: OtlpSink
) -> None:
    """The worker's command and the sender's give the spans that the README shows, in one trace."""
    page = (ROOT / "packages/obs-celery/README.md").read_text(encoding="utf-8")
    (tmp_path / "orders.py").write_text(blocks(page, "python")[0], encoding="utf-8")
    worker, sender = blocks(page, "console")[1].splitlines()
    environment = {**surroundings(tmp_path, redis_url), ENDPOINT: otlp_sink.url}
    with terminal(worker, environment, tmp_path / "log", tmp_path):
        command = ["bash", "-ec", sender]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=60)
        otlp_sink.wait_for(2, timeout_s=60)
    assert otlp_sink.tree() == blocks(page, "text")[0].strip()


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_the_first_sample_drops_nothing(readme: Path) -> None:
    """No README's first sample samples, or overrules the environment's collector."""
    sample = blocks(readme.read_text(encoding="utf-8"), "python")[:1]
    assert [word for word in NOT_FIRST for code in sample if word in code] == []
