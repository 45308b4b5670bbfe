"""Draw a table of docs/benchmarks.md: for each row, what each contestant costs relative to the reference, as bars (SVG)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

#: Who costs 1 by definition: the first of these that has a column.
REFERENCES = ("contrib", "sdk")
_OURS, _OTHERS = (
    "#1b6ac9",
    ("#b9c2cc", "#d3a86a", "#8fb29a", "#c58f8f", "#a497c4", "#9fb6c9", "#cfc38a"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """The contestants of a table and their figures; None where one could not take part.

    Attributes:
        title: What the figures are: the head of the first column.
        rows: Row name → contestant → figure.
    """

    title: str
    rows: dict[str, dict[str, float | None]]

    @property
    def contestants(self) -> list[str]:
        """Who takes part, in the table's order."""
        return list(next(iter(self.rows.values())))

    @property
    def reference(self) -> str:
        """Who costs 1."""
        return next(name for name in REFERENCES if name in self.contestants)

    def relative(self, contestant: str) -> list[float | None]:
        """Return a contestant's figures by row, as multiples of the reference's."""
        pairs = [(row[contestant], row[self.reference]) for row in self.rows.values()]
        return [
            mine / base if mine is not None and base else None for mine, base in pairs
        ]

    def behind(self) -> list[str]:
        """Say, row by row, who costs less than we do."""
        return [
            f"{name} ({', '.join(ahead)})"
            for name, row in self.rows.items()
            if (ahead := _ahead(row))
        ]


def read_table(text: str) -> Table | None:
    """Read the Markdown table of `text`, if it compares us with a reference; what stands right of a ratio is no contestant."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    if len(lines) < 3 or "ours" not in lines[0] or not set(REFERENCES) & set(lines[0]):
        return None
    names = list(takewhile(lambda name: "/" not in name, lines[0][1:]))
    rows = {
        line[0]: dict(zip(names, map(_figure, line[1:]), strict=False))
        for line in lines[2:]
    }
    return Table(lines[0][0], rows)


def _ahead(row: dict[str, float | None]) -> list[str]:
    ours = row["ours"]
    return [
        f"{name} {value / ours:.2f} of ours"
        for name, value in row.items()
        if ours and value and value < ours
    ]


def _figure(cell: str) -> float | None:
    try:
        return float(cell.lstrip("+"))
    except ValueError:
        return None


def draw(table: Table, path: Path) -> None:
    """Write the bars of `table` to `path`; the same table gives the same bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.hashsalt": "obs", "svg.fonttype": "none", "font.size": 9})
    contestants, height = table.contestants, 0.8 / len(table.contestants)
    figure = Figure(
        figsize=(8, 0.6 + 0.18 * len(contestants) * len(table.rows)),
        layout="constrained",
    )
    axes = figure.subplots()
    others = iter(_OTHERS)
    for place, name in enumerate(contestants):
        values = table.relative(name)
        offsets = [row + place * height for row in range(len(table.rows))]
        colour = _OURS if name == "ours" else next(others)
        bars = axes.barh(
            offsets,
            [value or 0 for value in values],
            height * 0.9,
            label=name,
            color=colour,
        )
        axes.bar_label(
            bars,
            [f"{value:.2f}" if value else "" for value in values],
            padding=2,
            fontsize=7,
        )
    axes.set_yticks(
        [row + 0.4 - height / 2 for row in range(len(table.rows))], list(table.rows)
    )
    axes.invert_yaxis()
    axes.axvline(1, color="#555555", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(f"{table.title}, as a multiple of {table.reference}'s")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, format="svg", metadata={"Date": None})
