"""A running receiver, and spans made by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from obs_view import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on free ports."""
    with Receiver(0, 0) as running:
        yield running
