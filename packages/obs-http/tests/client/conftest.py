"""Asks what is asked of httpx of httpx2 as well."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

import pytest

#: httpx2 needs Python 3.11.
LIBRARIES = [name for name in ("httpx", "httpx2") if find_spec(name) is not None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of a module that has an `httpx` for each library."""
    if hasattr(metafunc.module, "httpx") and "library" in metafunc.fixturenames:
        metafunc.parametrize("library", LIBRARIES, indirect=True)


@pytest.fixture(autouse=True)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library that the test's module has under the name `httpx`."""
    if not hasattr(request, "param"):
        return None
    module = importlib.import_module(request.param)
    monkeypatch.setattr(request.module, "httpx", module)
    return module
