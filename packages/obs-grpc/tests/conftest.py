"""Servers and channels for the tests of obs-grpc; its helper modules are imported by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def nothing_stays_instrumented() -> Iterator[None]:
    """Take back what a test instrumented globally."""
    yield
    from obs_grpc import uninstrument_grpc_client, uninstrument_grpc_server

    uninstrument_grpc_client()
    uninstrument_grpc_server()
