"""Print, for each FastAPI version and each arrangement of instrumentations, how many SERVER spans and traces a request is.

    python packages/obs-http/tests/server/server_spans_table.py

Each version is installed into an environment of its own, in a temporary folder, by uv. Exit status 1 where one is not 1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

VERSIONS = ("==0.110.1", "==0.141.*", "==0.142.*", "")
PACKAGES = Path(__file__).parents[3]
COUNT = """
import json, runpy
import fastapi
found = runpy.run_path({path!r})["table"]()
print(json.dumps([fastapi.__version__, found]))
"""


def count(version: str) -> tuple[str, dict[str, list[int]]]:
    """Return the version that ``fastapi<version>`` is, and the counts by arrangement."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "VIRTUAL_ENV": folder}
        subprocess.run(
            ["uv", "venv", "-q", "--clear", "-p", sys.executable, folder], check=True
        )
        core, ours = PACKAGES / "obs-core", PACKAGES / "obs-http"
        wanted = [
            "-e",
            str(core),
            "-e",
            str(ours),
            "--group",
            f"{ours / 'pyproject.toml'}:test",
            "pytest",
            f"fastapi{version}",
        ]
        subprocess.run(
            ["uv", "pip", "install", "-q", *wanted], check=True, env=environment
        )
        code = COUNT.format(path=str(Path(__file__).with_name("test_existing_span.py")))
        printed = subprocess.run(
            [Path(folder) / "bin" / "python", "-c", code],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    version, found = json.loads(printed.stdout.splitlines()[-1])
    return version, found


def main() -> int:
    columns = dict(map(count, VERSIONS))
    rows = dict.fromkeys(name for found in columns.values() for name in found)
    print(
        f"{'SERVER spans / traces a request':<36}"
        + "".join(f"{version:>12}" for version in columns)
    )
    for name in rows:
        cells = (
            "{}/{}".format(*found[name]) if name in found else "-"
            for found in columns.values()
        )
        print(f"{name:<36}" + "".join(f"{cell:>12}" for cell in cells))
    return int(
        any(counts != [1, 1] for found in columns.values() for counts in found.values())
    )


if __name__ == "__main__":
    raise SystemExit(main())
