"""The getting-started page, followed to the letter: its commands in three terminals, its file, and the tree that it promises.

Two things differ: all is installed here already, so the installer only notes what it is to take; and the ports are free ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from scripts.matrix import read_packages
from tests.services import free_port
from tests.terminals import answers, blocks, terminal, tree_of, wait_for

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
_ALREADY_INSTALLED = """
python3() { mkdir -p .venv/bin && : > .venv/bin/activate; }
pip() { printf '%s\\n' "$@" > ~/asked-for; }
"""


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the reader has in the end: what the installer was asked for, the answer, and what the first terminal shows."""
    if not (shutil.which("bash") and shutil.which("curl")):
        pytest.skip("the page's commands need bash and curl")
    home = tmp_path_factory.mktemp("home")
    install, view, serve, request = blocks(PAGE, "console")
    http, grpc, port = free_port(), free_port(), free_port()
    environment = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{grpc}",
    }
    subprocess.run(
        ["bash", "-ec", _ALREADY_INSTALLED + install],
        cwd=ROOT,
        env=environment,
        check=True,
        timeout=60,
    )
    project = home / "hello-traces"
    (project / "app.py").write_text(blocks(PAGE, "python")[0], encoding="utf-8")
    first, second = home / "first", home / "second"
    with ExitStack() as stack:
        view = f"{view.strip()} --port {http} --grpc-port {grpc}"
        stack.enter_context(terminal(view, environment, first, project))
        wait_for(lambda: answers(f"http://127.0.0.1:{http}/"), first)
        stack.enter_context(
            terminal(serve.replace("8000", str(port)), environment, second, home)
        )
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/docs"), second)
        command = ["bash", "-ec", request.replace("8000", str(port))]
        answer = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        wait_for(lambda: "app.find_greeting" in first.read_text(), first, second)
    return {
        "asked for": (home / "asked-for").read_text(),
        "answer": answer.stdout,
        "shown": first.read_text(),
    }


def test_installs_packages_that_are_in_the_clone(walk: dict[str, str]) -> None:
    """Each path of the install line is a package with that extra; `nox -s build` installs them elsewhere."""
    packages = {str(package.folder): package for package in read_packages()}
    asked = [line for line in walk["asked for"].splitlines() if "/" in line]
    assert len(asked) == 3
    for path, _, extra in (line.rstrip("]").partition("[") for line in asked):
        assert not extra or extra in packages[path].project["optional-dependencies"]


def test_service_answers_and_its_trace_is_the_one_on_the_page(
    walk: dict[str, str],
) -> None:
    """The reader's correlation id, and the page's tree, span by span."""
    assert walk["answer"] == '"Bonjour, ada"'
    assert "correlation my-first" in walk["shown"]
    shown = walk["shown"][walk["shown"].index("GET /hello") :]
    assert tree_of(shown) == tree_of(blocks(PAGE, "text")[0])
