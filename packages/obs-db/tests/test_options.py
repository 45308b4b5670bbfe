"""Options of a second call: other ones than the first call's are an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from obs_core.exceptions import AlreadyConfiguredError
from obs_core.testing import SpanRecorder
from obs_db import instrument_redis, instrument_sqlalchemy, uninstrument_sqlalchemy
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


def test_other_options_are_an_error(
    instrument: Callable[..., Any], spans: SpanRecorder
) -> None:
    """A second call that asks for something else raises and names it; the first stays in force."""
    first = instrument(roots=False)
    try:
        with pytest.raises(AlreadyConfiguredError, match="roots, service_name"):
            instrument(roots=True, service_name="orders")
        assert first.is_active
    finally:
        first.uninstrument()
    instrument(roots=True, service_name="orders").uninstrument()


@pytest.mark.parametrize("options", [{"roots": False}, {}])
def test_the_same_options_or_none(
    options: dict[str, Any], instrument: Callable[..., Any], spans: SpanRecorder
) -> None:
    """A second call for the same or nothing (``instrument="auto"``) returns the first handle."""
    first = instrument(roots=False)
    try:
        assert instrument(**options) is first
    finally:
        first.uninstrument()


def test_options_after_none(
    instrument: Callable[..., Any], spans: SpanRecorder
) -> None:
    """Options that come after a call without any (``instrument="auto"``) are an error too."""
    first = instrument()
    try:
        with pytest.raises(AlreadyConfiguredError, match="roots"):
            instrument(roots=False)
    finally:
        first.uninstrument()


def test_a_copy_of_an_engine_is_the_same_engine(spans: SpanRecorder) -> None:
    """`execution_options` makes one: the engine is instrumented once, and uninstrumented by either."""
    engine = create_engine("sqlite://")
    first = instrument_sqlalchemy(engine)
    copy = engine.execution_options(isolation_level="AUTOCOMMIT")
    assert instrument_sqlalchemy(copy) is first
    uninstrument_sqlalchemy(copy)
    assert not first.is_active
    engine.dispose()
