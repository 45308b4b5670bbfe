"""Run inside an environment that has one package and nothing optional: ``python alone.py DISTRIBUTION IMPORT_NAME``."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import distribution


def main(name: str, import_name: str) -> None:
    """Import every public name; call every instrumentor: it works, or says what to install."""
    package = import_module(import_name)
    for public in package.__all__:
        getattr(package, public)
    for entry in distribution(name).entry_points.select(group="obs_core.instrumentors"):
        try:
            entry.load()()
            outcome = "instruments"
        except ImportError as error:
            outcome = str(error)
            if "pip install" not in outcome:
                raise
        print(f"  {name}: {entry.name}: {outcome}")
    print(f"  {name}: {len(package.__all__)} public names from {package.__file__}")


if __name__ == "__main__":
    main(*sys.argv[1:])
