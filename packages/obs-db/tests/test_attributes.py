"""What every span of an engine says: which database and where, and no path, user or password."""

from __future__ import annotations

import logging
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest
from obs_db import instrument_sqlalchemy
from obs_db.sqlalchemy._attributes import pool_name, system_name, url_attributes
from sqlalchemy.engine.url import make_url


class Dialect:
    def __init__(self, name: str) -> None:
        self.name = name


def engine_of(url: str) -> Any:
    """Stand in for an engine whose driver is not installed: only URL, dialect's name and pool are read."""
    made = make_url(url)
    return SimpleNamespace(
        url=made, dialect=Dialect(made.get_backend_name()), pool=object()
    )


@pytest.mark.promise("DB-04")
@pytest.mark.parametrize(
    ("url", "attributes", "pool"),
    [
        (
            "postgresql+psycopg://ada:sesame@db.internal/shop",
            {
                "db.system.name": "postgresql",
                "db.namespace": "shop",
                "server.address": "db.internal",
                "server.port": 5432,
            },
            "db.internal:5432/shop",
        ),
        (
            "postgresql://ada:sesame@/shop?host=/var/run/sesame&port=6543",
            {
                "db.system.name": "postgresql",
                "db.namespace": "shop",
                "network.transport": "unix",
            },
            "postgresql/shop",
        ),
        (
            "mssql+pyodbc://ada:sesame@db:1444/shop",
            {
                "db.system.name": "microsoft.sql_server",
                "db.namespace": "shop",
                "server.address": "db",
                "server.port": 1444,
            },
            "db:1444/shop",
        ),
        (
            "sqlite:////home/sesame/shop.db",
            {"db.system.name": "sqlite", "db.namespace": "shop.db"},
            "sqlite/shop.db",
        ),
        (
            "sqlite:///file:/home/sesame/shop.db?mode=ro&key=sesame&uri=true",
            {"db.system.name": "sqlite", "db.namespace": "shop.db"},
            "sqlite/shop.db",
        ),
        (
            "sqlite://",
            {"db.system.name": "sqlite", "db.namespace": ":memory:"},
            "sqlite/:memory:",
        ),
    ],
)
def test_attributes(url: str, attributes: dict[str, object], pool: str) -> None:
    """System, database, host and port come from the URL; secrets and folders stay in it."""
    engine = engine_of(url)

    assert {
        "db.system.name": system_name(engine),
        **url_attributes(engine),
    } == attributes
    assert pool_name(engine) == pool
    assert "sesame" not in f"{url_attributes(engine)}{pool_name(engine)}"


def test_unsupported_version(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A SQLAlchemy outside the extra's range is instrumented, with one warning that names both."""
    monkeypatch.setattr("obs_core._safety.containment._warned", set())
    real = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "9.9" if name == "sqlalchemy" else real(name)
    )

    with caplog.at_level(logging.WARNING):
        instrument_sqlalchemy().uninstrument()
        instrument_sqlalchemy().uninstrument()

    (record,) = caplog.records
    assert record.message.startswith("sqlalchemy 9.9 is outside")
