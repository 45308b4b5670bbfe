"""Generate docs/compatibility.md from what each package's pyproject.toml claims: ``--write`` writes it, else it is checked."""

from __future__ import annotations

import sys

from scripts.matrix import ROOT, Package, cells, pairwise, read_packages

PAGE = ROOT / "docs" / "compatibility.md"
#: The heading of the section that `scripts.implementations` writes.
RUN = "## Implementations"
_HEAD = """# Compatibility

Generated from `[tool.obs.matrix]` and the classifiers of each package (`python -m scripts.compatibility --write`): what is
claimed is what `nox -s matrix` runs, and with `--sample` few cells that contain every pair of versions, which `.ci/run` begins
for 15 minutes, each version first. Libraries that never meet go side by side, not combined. Newer Pythons are run
with the newest of everything (`nox -s newer`). [What became of them](matrix.md).

Python 3.15 is not claimed for obs-core itself: its suite needs langchain-core, whose zstandard 0.25 has no wheel for 3.15 yet
(November 2026). The others, whose suites run obs-core too, pass there whole.

Libraries that trace themselves, and the versions that were run: [self-traced.md](self-traced.md#what-was-run).
"""


def section(package: Package) -> str:
    """Return one package's table."""
    axes = {
        "Python": package.pythons,
        **{axis: list(labels) for axis, labels in package.axes.items()},
    }
    if package.newer_pythons:
        axes["Python, with the newest of everything"] = package.newer_pythons
    rows = [f"| {axis} | {', '.join(labels)} |" for axis, labels in axes.items()]
    every, sample = (len(list(cells(package, choose))) for choose in (None, pairwise))
    ranges = package.project.get("optional-dependencies", {}).get("instruments", [])
    supports = (
        f"Supports {', '.join(f'`{line}`' for line in ranges)}.\n\n" if ranges else ""
    )
    apart = (
        [f"| not combined | {' with '.join(package.apart)} |"] if package.apart else []
    )
    unsupported = [
        f"| not together: {pair} | {why} |" for pair, why in package.unsupported.items()
    ]
    table = "\n".join(
        ["| axis | versions tested |", "|---|---|", *rows, *apart, *unsupported]
    )
    return f"## {package.name}\n\n{supports}{table}\n\n{every} cells, {sample} in the sample.\n"


def render() -> str:
    """Return the whole page; the section of what is run stays as it is."""
    generated = "\n".join([_HEAD, *(section(package) for package in read_packages())])
    _, heading, run = PAGE.read_text(encoding="utf-8").partition(RUN)
    return f"{generated}\n{heading}{run}" if heading else generated


def main(arguments: list[str]) -> int:
    """Write the page, or say that it is out of date."""
    if "--write" in arguments:
        PAGE.write_text(render(), encoding="utf-8")
    if PAGE.read_text(encoding="utf-8") != render():
        print(
            "docs/compatibility.md is out of date: python -m scripts.compatibility --write"
        )
        return 1
    print("docs/compatibility.md agrees with the packages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
