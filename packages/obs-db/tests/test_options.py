"""Options of a second call: the first call's stay, and what has no effect is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from obs_core.testing import SpanRecorder
from obs_db import instrument_redis, instrument_sqlalchemy
from sqlalchemy import create_engine


@pytest.fixture(params=["all engines", "one engine", "all clients", "one client"])
def instrument(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Instrument all engines or clients, or one."""
    engine, client = create_engine("sqlite://"), redis.Redis(port=1)
    functions: dict[str, Callable[..., Any]] = {
        "all engines": instrument_sqlalchemy,
        "one engine": lambda **options: instrument_sqlalchemy(engine, **options),
        "all clients": instrument_redis,
        "one client": lambda **options: instrument_redis(client, **options),
    }
    yield functions[request.param]
    engine.dispose()
    client.close()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count the warnings about options without effect, which are given once a process."""
    from obs_core.integration import warn_once

    monkeypatch.setitem(warn_once.__globals__, "_warned", set())

    def count() -> int:
        return len([record for record in caplog.records if "has no effect" in record.message])

    return count


def test_other_options_are_said(
    instrument: Callable[..., Any], said: Callable[[], int], spans: SpanRecorder
) -> None:
    """A second call returns the first one's handle, and says once which options have no effect."""
    first = instrument(roots=False)
    try:
        assert instrument(roots=True) is first
        assert instrument(roots=True) is first
        assert said() == 1
        assert instrument(service_name="orders") is first
        assert said() == 2
    finally:
        first.uninstrument()


def test_the_same_options_and_defaults_are_quiet(
    instrument: Callable[..., Any], said: Callable[[], int], spans: SpanRecorder
) -> None:
    """A second call that asks for the same or nothing (``instrument="auto"``) is silent."""
    first = instrument(roots=False)
    instrument(roots=False)
    instrument()
    first.uninstrument()
    instrument(roots=True).uninstrument()

    assert said() == 0
