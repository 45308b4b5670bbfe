"""What the tests of pages share that a reader follows in several terminals: blocks, shells, trees."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from obs_core.testing import wait_until

ROOT = Path(__file__).parent.parent


def blocks(page: str, language: str) -> list[str]:
    """The text of each block of that language on the page."""
    block = rf"^```{language}\n(.*?)^```"
    return re.findall(block, page, re.MULTILINE | re.DOTALL)


@contextmanager
def terminal(
    script: str, environment: dict[str, str], log: Path, folder: Path = ROOT
) -> Iterator[None]:
    """Run `script` in a shell of its own, whose last command stays until the end."""
    *before, last = script.strip().splitlines()
    lines = "\n".join(["set -e", *before, f"exec {last}"])
    with log.open("wb") as output:
        shell = subprocess.Popen(
            ["bash", "-c", lines],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        yield
    finally:
        shell.terminate()
        shell.wait(30)


def wait_for(ready: Callable[[], bool], *logs: Path) -> None:
    """Wait for `ready`; fail with what the terminals show."""
    wait_until(ready, 60, message=lambda: "\n".join(log.read_text() for log in logs))


def answers(url: str) -> bool:
    """Whether a server is there."""
    try:
        httpx.get(url, timeout=5)
    except httpx.TransportError:
        return False
    return True


def tree_of(text: str) -> list[str]:
    """The tree without what differs from run to run: header, bars and durations."""
    return [
        re.split(r" +[━╸]", line)[0].rstrip()
        for line in text.splitlines()
        if "━" in line or "╸" in line
    ]
