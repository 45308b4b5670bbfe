"""Every command line of every document is run by a test, or checked against what it names; nothing stands there untested."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from itertools import chain
from pathlib import Path

import pytest
from obs_core.testing import OtlpSink
from packaging.requirements import Requirement

from scripts import installs
from scripts.matrix import read_packages

ROOT = Path(__file__).parent.parent
FOLDERS = (
    "*.md",
    "docs/**/*.md",
    "packages/*/README.md",
    "examples/**/*.md",
    "deploy/*.md",
)
PAGES = sorted({page for pattern in FOLDERS for page in ROOT.glob(pattern)})
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# who runs a command that this file does not, and the words by which it does
ELSEWHERE = {
    "celery -A orders worker": ("tests/test_docs_readme.py", 'blocks(page, "console")'),
    "curl -X POST": ("tests/test_docs_readme.py", 'blocks(PAGE, "console")'),
    "python -c 'from orders": ("tests/test_docs_readme.py", 'blocks(page, "console")'),
    "uvicorn orders:api": ("tests/test_docs_readme.py", 'blocks(PAGE, "console")'),
    "obs-view tail": ("packages/obs-view/tests/test_cli.py", 'command("tail")'),
    "otelcol-contrib --config": ("tests/test_docs_deploy.py", '"validate"'),
}
WALKED = ROOT / "docs" / "getting-started.md"  # tests/test_docs_walk.py follows it
APPLICATION = """
from fastapi import FastAPI
from obs_core import TracingConfig, setup_tracing
manager, middleware_config = setup_tracing(TracingConfig(service_name="shop"))
app = FastAPI()
app.add_middleware(*middleware_config)
"""


def blocks(*languages: str) -> Iterator[tuple[Path, int, str]]:
    """Yield each block of these languages with its page and line."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in _BLOCK.finditer(text):
            if found[1] in languages:
                yield page, text.count("\n", 0, found.start()) + 1, found[2]


def commands() -> Iterator[tuple[str, str]]:
    """Yield each command with its place; in a block with prompts, the other lines are output."""
    for page, line, block in blocks("console"):
        lines = block.replace("\\\n", " ").splitlines()
        typed = [text[2:] for text in lines if text.startswith("$ ")] or lines
        if page != WALKED:
            for command in (
                part.strip()
                for text in typed
                for part in text.partition(" #")[0].split("&&")
            ):
                yield f"{page.relative_to(ROOT)}:{line}: {command}", command


def in_environment(command: str, folder: Path, sink: OtlpSink) -> None:
    """Run it as it stands, in a project that has the application it names."""
    module = shlex.split(command)[-1].partition(":")[0]
    file = folder / (module.replace(".", "/") + ".py")
    file.parent.mkdir(parents=True)
    file.write_text(APPLICATION)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {
        **os.environ,
        "PATH": path,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": sink.url,
    }
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "healthy" in done.stdout


def names_what_is_there(command: str) -> None:
    """What it installs of ours exists, with its extra, and all that this needs of ours; `nox -s rehearsal` installs it."""
    packages = {package.name: package.project for package in read_packages()}
    line = installs.on_an_index(command.partition(" install ")[2])
    expanded = subprocess.check_output(
        ["bash", "-c", f"printf '%s ' {line}"], text=True
    )
    asked = [Requirement(word) for word in expanded.split()]
    ours = {word.name: word.extras for word in asked if word.name in packages}
    for name, extras in ours.items():
        optional = packages[name].get("optional-dependencies", {})
        assert extras <= set(optional), name
        lines = chain(packages[name]["dependencies"], *map(optional.get, extras))
        needed = {Requirement(text).name for text in lines}
        assert needed & set(packages) <= set(ours), f"{name} is not all of {command}"
    assert not [
        word for word in asked if word.name.startswith("obs") and word.name not in ours
    ]


def names_a_session(command: str) -> None:
    """The noxfile has it; the sessions themselves are what runs these tests, or would run them again."""
    asked = re.findall(r"-s (\w+)", command)
    defined = re.findall(
        r"^@nox\.session.*\ndef (\w+)", (ROOT / "noxfile.py").read_text(), re.MULTILINE
    )
    assert set(asked) <= set(defined), asked


@pytest.mark.parametrize(
    ("place", "command"), [pytest.param(*found, id=found[0]) for found in commands()]
)
def test_command_works(
    place: str, command: str, tmp_path: Path, otlp_sink: OtlpSink
) -> None:
    """Run, or checked; a command that is neither fails here."""
    if re.match(r"(python -m )?pip install ", command):
        names_what_is_there(command)
    elif re.match(r"nox( |$)", command):
        names_a_session(command)
    elif command.startswith("python -m obs_core doctor"):
        in_environment(command, tmp_path, otlp_sink)
    else:
        (where,) = [
            where for start, where in ELSEWHERE.items() if command.startswith(start)
        ] or [None]
        assert where, f"{place}: nobody runs this: say in ELSEWHERE who does"
        assert where[1] in (ROOT / where[0]).read_text(encoding="utf-8"), where


@pytest.mark.promise("CORE-121")
@pytest.mark.parametrize(
    "file",
    installs.files(*installs.PAGES, *installs.SOURCES),
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_no_line_needs_an_index(file: Path) -> None:
    """Until the packages are on an index, documents and messages install them by path: another's package may have the name."""
    for command in installs.commands(file.read_text(encoding="utf-8")):
        assert installs.needs_an_index(command) == [], command


def test_the_same_line_on_the_day_that_the_packages_are_on_an_index() -> None:
    """`python -m scripts.installs --index` writes it; `nox -s rehearsal` installs it."""
    line = """pip install ./packages/obs-{core,db} './packages/obs-view[demo]' "$OBS/obs-http[instruments]" uvicorn"""
    expected = (
        "pip install obs-{core,db} 'obs-view[demo]' 'obs-http[instruments]' uvicorn"
    )
    assert installs.on_an_index(line) == expected
    assert installs.needs_an_index(line) == []
    assert installs.needs_an_index(expected) == ["obs-view", "obs-http"]


def test_other_blocks_are_what_nobody_can_run() -> None:
    """Python has test_docs.py, commands the tests above, TOML the one below; the rest is text and YAML."""
    known = ("python", "console", "toml", "text", "yaml")
    languages = {
        found[1]
        for page in PAGES
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    }
    assert languages <= set(known), languages


def test_entry_points_of_the_guide_are_of_groups_in_use() -> None:
    """An integration that declares them as shown is found."""
    for page, line, block in blocks("toml"):
        groups = re.findall(
            r"^\[project\.entry-points\.\"?([\w.]+)\"?\]$", block, re.MULTILINE
        )
        entries = re.findall(r'^\w+ = "\w+:\w+"$', block, re.MULTILINE)
        assert len(groups) == len(entries) == 2, f"{page}:{line}"
        assert all(entry_points(group=group) for group in groups), groups
