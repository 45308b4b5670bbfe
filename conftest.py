"""Fixtures for the tests of every package."""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.services"]

# a test's processes share a pipe: unbuffered, print() writes a line in pieces, between which others write
os.environ.pop("PYTHONUNBUFFERED", None)


@pytest.fixture(autouse=True)
def log_anew() -> None:
    """A failure is logged once a minute: each test begins a minute of its own."""
    containment = sys.modules.get("obs_core._safety.containment")
    if containment is not None:
        containment._limit._last.clear()


# how long an example takes is the machine's affair; speed is measured in benchmarks/
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
