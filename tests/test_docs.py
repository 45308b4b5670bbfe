"""Every Python example of every document runs, as it stands there, as a script of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from obs_core.testing import OtlpSink

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        ROOT / "README.md",
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("packages/*/README.md"),
    ]
)
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


def blocks() -> Iterator[tuple[str, str]]:
    """Yield each example with its place, ``page:line``."""
    for page in dict.fromkeys(PAGES):
        text = page.read_text(encoding="utf-8")
        for found in _BLOCK.finditer(text):
            yield (
                f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, found.start()) + 1}",
                found[1],
            )


@pytest.mark.parametrize(
    ("place", "code"), [pytest.param(*block, id=block[0]) for block in blocks()]
)
def test_example_runs(
    place: str, code: str, tmp_path: Path, otlp_sink: OtlpSink, redis_url: str
) -> None:
    """The block exits with status 0 and without a warning of Python's."""
    script = tmp_path / "example.py"
    script.write_text(code, encoding="utf-8")
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": otlp_sink.url,
        "REDIS_URL": redis_url,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "example",
        "AWS_SECRET_ACCESS_KEY": "example",
    }
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", str(script)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{place} failed:\n{code}\n{done.stderr}"


@pytest.mark.parametrize(
    "page", dict.fromkeys(PAGES), ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link of a document names a file of the repository."""
    links = [
        link
        for link in _LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in link and not link.startswith("mailto:")
    ]
    assert [link for link in links if not (page.parent / link).exists()] == []
