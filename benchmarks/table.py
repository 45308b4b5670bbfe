"""The tables of docs/benchmarks.md: what each contestant adds to the untraced operation, and ours beside contrib's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import quantiles

Round = Mapping[str, float]


def head(unit: str, contestants: Sequence[str]) -> str:
    """Return the first two lines; `contestants` are without the bare one."""
    names = [unit, *contestants, "ours / contrib", "spread", "untraced"]
    return f"| {' | '.join(names)} |\n|---|{'---:|' * (len(names) - 1)}"


def row(
    title: str,
    contestants: Sequence[str],
    rounds: Sequence[Round],
    of: Callable[[list[float]], float] = min,
) -> str:
    """Return a line: the least of all rounds less the bare least, since a busy machine only adds; ``no`` for who is absent.

    `of` says what stands for all rounds: the median where threads that wait for each other make some rounds lucky.

    Each round has a figure of ``bare`` and of everybody who takes part. The spread is that of the middle half of the rounds'
    ratios.
    """
    typical = {name: of([each[name] for each in rounds]) for name in rounds[0]}
    added = {name: figure - typical["bare"] for name, figure in typical.items()}
    cells = [f"{added[name]:.1f}" if name in added else "no" for name in contestants]
    beside, spread = "no", "no"
    if {"ours", "contrib"} <= added.keys():
        beside = f"{added['ours'] / added['contrib']:.2f}"
        spread = _spread(rounds, "ours", "contrib")
    return f"| {title} | {' | '.join(cells)} | {beside} | {spread} | {typical['bare']:.1f} |"


def ratio(rounds: Sequence[Round], one: str, other: str) -> str:
    """Return what `one` adds to the untraced operation as a share of what `other` adds, and the spread: see `row`."""
    least = {name: min(each[name] for each in rounds) for name in (one, other, "bare")}
    found = (least[one] - least["bare"]) / (least[other] - least["bare"])
    return f"{found:.2f} ({_spread(rounds, one, other)})"


def _spread(rounds: Sequence[Round], one: str, other: str) -> str:
    ratios = [
        (each[one] - each["bare"]) / (each[other] - each["bare"]) for each in rounds
    ]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return f"{low:.2f} to {high:.2f}"
