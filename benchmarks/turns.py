"""Contestants in processes of their own, for they fight for global state, asked in turn: a busy moment hits all alike.

Each round has an order of its own, drawn at random, so that nobody always follows the same one.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Measure = Callable[[], Iterable[float]]


def answer(prepare: Callable[[], Measure]) -> None:
    """Be a contestant: prepare, warm up, and answer each line on stdin with a round's figures; never return."""
    answers, sys.stdout = sys.stdout, sys.stderr
    measure = prepare()
    measure()
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        print(*measure(), file=answers, flush=True)
    os._exit(0)


def contend(
    command: Sequence[str], contestants: Iterable[str], rounds: int, **environment: str
) -> dict[str, list[tuple[float, ...]]]:
    """Return the figures of each contestant, round by round; who does not come up is left out.

    A contestant is started by `command` and its name.
    """
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.DEVNULL,
        "text": True,
    }
    pipes["env"] = {**os.environ, **environment}
    workers = {
        name: subprocess.Popen([*command, name], **pipes) for name in contestants
    }
    ready = {
        name: worker
        for name, worker in workers.items()
        if worker.stdout.readline() == "ready\n"
    }
    figures: dict[str, list[tuple[float, ...]]] = {name: [] for name in ready}
    for _ in range(rounds):
        for name, worker in random.sample(list(ready.items()), len(ready)):
            worker.stdin.write("go\n")
            worker.stdin.flush()
            figures[name].append(tuple(map(float, worker.stdout.readline().split())))
    for worker in workers.values():
        worker.communicate()
    return figures
