"""What every span of an engine says: which database, where."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from opentelemetry.util.types import AttributeValue

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.url import URL

_SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}
_DEFAULT_PORTS = {
    "postgresql": 5432,
    "mysql": 3306,
    "mariadb": 3306,
    "mssql": 1433,
    "oracle": 1521,
    "cockroachdb": 26257,
}


def engine_attributes(engine: Engine) -> dict[str, AttributeValue]:
    """Return the attributes of `engine` alone: never a user, a password or a path."""
    name, url = engine.dialect.name, engine.url
    attributes: dict[str, AttributeValue] = {"db.system.name": _SYSTEMS.get(name, name)}
    if namespace := database_name(engine):
        attributes["db.namespace"] = namespace
    host = _host(url)
    if host.startswith("/"):
        attributes["network.transport"] = "unix"
    elif host:
        attributes["server.address"] = host
        if port := _port(url) or _DEFAULT_PORTS.get(name):
            attributes["server.port"] = port
    return attributes


def pool_name(engine: Engine) -> str:
    """Return the name of the engine's pool: what the user gave it, else ``host:port/database``."""
    given = getattr(engine.pool, "logging_name", None)
    if given:
        return str(given)
    attributes = engine_attributes(engine)
    where = ":".join(
        str(attributes[key]) for key in ("server.address", "server.port") if key in attributes
    )
    return "/".join(part for part in (where or engine.dialect.name, database_name(engine)) if part)


def database_name(engine: Engine) -> str | None:
    """Return the database's name; of a file database the file's name without its folder."""
    database = engine.url.database
    if engine.dialect.name != "sqlite":
        return database or None
    if not database or ":memory:" in database:
        return ":memory:"
    return (
        PurePath(database.removeprefix("file:").partition("?")[0].replace("\\", "/")).name or None
    )


def _host(url: URL) -> str:
    queried = url.query.get("host")
    host = url.host or (queried if isinstance(queried, str) else "")
    return host or ""


def _port(url: URL) -> int | None:
    queried = url.query.get("port")
    return url.port or (int(queried) if isinstance(queried, str) and queried.isdecimal() else None)
