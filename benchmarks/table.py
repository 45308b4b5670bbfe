"""The tables of docs/benchmarks.md: what each contestant adds to the untraced operation, and ours beside contrib's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import quantiles

Round = Mapping[str, float]


def head(unit: str, contestants: Sequence[str]) -> str:
    """Return the first two lines; `contestants` are without the bare one."""
    names = [unit, *contestants, "ours / contrib", "spread", "untraced"]
    return f"| {' | '.join(names)} |\n|---|{'---:|' * (len(names) - 1)}"


def row(title: str, contestants: Sequence[str], rounds: Sequence[Round]) -> str:
    """Return a line: the least of all rounds less the bare least, since a busy machine only adds; ``no`` for who is absent.

    Each round has a figure of ``bare`` and of everybody who takes part. The spread is that of the middle half of the rounds'
    ratios.
    """
    least = {name: min(each[name] for each in rounds) for name in rounds[0]}
    added = {name: figure - least["bare"] for name, figure in least.items()}
    cells = [f"{added[name]:.1f}" if name in added else "no" for name in contestants]
    ratios = [(each["ours"] - each["bare"]) / (each["contrib"] - each["bare"]) for each in rounds]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    ratio = added["ours"] / added["contrib"]
    return f"| {title} | {' | '.join(cells)} | {ratio:.2f} | {low:.2f} to {high:.2f} | {least['bare']:.1f} |"
