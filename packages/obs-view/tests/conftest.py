"""A running receiver, and spans made by hand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from obs_view import Receiver

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A chromium: `CHROMIUM` or one on the PATH; without it the tests are skipped."""
    path = (
        os.environ.get("CHROMIUM")
        or shutil.which("chromium")
        or shutil.which("chromium-browser")
    )
    required = os.environ.get("REQUIRE_SERVICES") == "1" and "CHROMIUM" in os.environ
    try:
        from playwright.sync_api import Error, sync_playwright

        with sync_playwright() as playwright:
            if path is None:
                pytest.skip("no chromium on the PATH (CHROMIUM names another)")
            started = playwright.chromium.launch(executable_path=path, args=FLAGS)
            yield started
            started.close()
    except (ImportError, Error) as error:
        if required:
            raise
        pytest.skip(f"no browser: {error}")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on free ports."""
    with Receiver(0, 0) as running:
        yield running
