"""The attributes common to all spans of an engine: the database and the server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from opentelemetry.util.types import AttributeValue

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.interfaces import Dialect
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


#: What the connections of an engine said, if the URL does not: the pool is named after that.
_found: WeakKeyDictionary[Dialect, Mapping[str, AttributeValue]] = WeakKeyDictionary()


def system_name(engine: Engine) -> str:
    """Return the name that the semantic conventions have for the system of `engine`."""
    name = engine.dialect.name
    return _SYSTEMS.get(name, name)


def url_attributes(engine: Engine) -> dict[str, AttributeValue]:
    """Return server and database that the URL of `engine` names: no user, password or path."""
    attributes: dict[str, AttributeValue] = {}
    if namespace := _database(engine):
        attributes["db.namespace"] = namespace
    host, port = _host(engine.url), _port(engine.url)
    attributes.update(server_attributes(engine.dialect.name, host, port))
    return attributes


def server_attributes(
    dialect: str, host: str, port: int | None
) -> dict[str, AttributeValue]:
    """Return address and port of a server.

    For a socket's path as `host`, only the transport; for an empty `host`, nothing.
    """
    if host.startswith("/"):
        return {"network.transport": "unix"}
    if not host:
        return {}
    attributes: dict[str, AttributeValue] = {"server.address": host}
    if port := port or _DEFAULT_PORTS.get(dialect):
        attributes["server.port"] = port
    return attributes


def has_url_creator(engine: Engine) -> bool:
    """Whether `engine` connects by the URL, without ``creator=`` or a pool made elsewhere."""
    creator = getattr(engine.pool, "_creator", None)
    return (
        creator is None
        or getattr(creator, "__module__", None) == "sqlalchemy.engine.create"
    )


def remember(engine: Engine, attributes: Mapping[str, AttributeValue]) -> None:
    """Keep the information of a connection of `engine`, for as long as the engine lives."""
    _found[engine.dialect] = attributes


def pool_name(engine: Engine) -> str:
    """Return the name of the engine's pool: the user's name, else ``host:port/database``."""
    given = getattr(engine.pool, "logging_name", None)
    if given:
        return str(given)
    attributes = _found.get(engine.dialect) or url_attributes(engine)
    where = [
        attributes[key]
        for key in ("server.address", "server.port")
        if key in attributes
    ]
    server = ":".join(str(part) for part in where) or engine.dialect.name
    return "/".join(
        str(part) for part in (server, attributes.get("db.namespace")) if part
    )


def file_name(path: str) -> str | None:
    """Return the name of SQLite's file `path` (may be a URI), without the folder."""
    if not path or ":memory:" in path:
        return ":memory:"
    plain = path.removeprefix("file:").partition("?")[0].replace("\\", "/")
    return PurePath(plain).name or None


def _database(engine: Engine) -> str | None:
    database = engine.url.database or ""
    is_file = engine.dialect.name == "sqlite" and (database or has_url_creator(engine))
    return file_name(database) if is_file else database or None


def _host(url: URL) -> str:
    return url.host or _queried(url, "host")


def _port(url: URL) -> int | None:
    queried = _queried(url, "port")
    if url.port is None and queried.isdecimal():
        return int(queried)
    return url.port


def _queried(url: URL, name: str) -> str:
    """Return a part of the URL's query; drivers of several hosts take a list there, which says nothing."""
    value = url.query.get(name)
    return value if isinstance(value, str) else ""
