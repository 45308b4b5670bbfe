"""Address, port and database of an open connection, which the engine's URL may not tell.

An engine with ``creator=``, ``async_creator=``, a pool of its own or a ``do_connect`` listener does
not use the URL, and libpq may take the server from the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from obs_core.integration import call_contained
from opentelemetry.util.types import AttributeValue

from obs_db.sqlalchemy._attributes import (
    file_name,
    has_url_creator,
    remember,
    server_attributes,
    url_attributes,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

_KEY = "obs_db.attributes"
_SERVER = ("server.address", "network.transport")
# the attribute names of drivers: pymysql, mysqlclient, aiomysql; mysql-connector
_HOST, _PORT = ("host", "server_host"), ("port", "server_port")
_DATABASE = ("db", "database")


def url_is_enough(engine: Engine) -> bool:
    """Whether the connections of `engine` lead to the server of the URL."""
    if not has_url_creator(engine) or getattr(
        engine.dialect.dispatch, "do_connect", None
    ):
        return False
    return engine.dialect.name == "sqlite" or not {*_SERVER}.isdisjoint(
        url_attributes(engine)
    )


def connection_attributes(
    connection: Connection, *, may_ask: bool
) -> dict[str, AttributeValue]:
    """Return the driver's information about `connection`; looked up once a connection, and kept there.

    Args:
        connection: Of SQLAlchemy.
        may_ask: Whether the database may be asked, where the driver does not know (SQLite).
    """
    if connection.closed or connection.invalidated:
        return {}
    found: dict[str, AttributeValue] | None = connection.info.get(_KEY)
    if found is None:
        if connection.dialect.name == "sqlite" and not may_ask:
            return {}
        found = call_contained("address of a connection", _read, connection) or {}
        connection.info[_KEY] = found
        remember(connection.engine, found)
    return found


def _read(connection: Connection) -> dict[str, AttributeValue]:
    pooled: Any = connection.connection
    if connection.dialect.name == "sqlite":
        return _with_database({}, _sqlite_file(pooled))
    # SQLAlchemy before 1.4.24 has the name `connection` alone
    driver = getattr(pooled, "driver_connection", None) or pooled.connection
    host, port, database = _place(driver)
    server = server_attributes(connection.dialect.name, host or "", port)
    return _with_database(server, database)


def _with_database(
    server: dict[str, AttributeValue], database: Any
) -> dict[str, AttributeValue]:
    if isinstance(database, bytes):
        database = database.decode("utf-8", "replace")
    return {**server, "db.namespace": database} if database else server


def _place(driver: Any) -> tuple[Any, Any, Any]:
    """Return host (or the path of a socket), port and database; None for each unknown part."""
    info: Any = getattr(driver, "info", None)
    if hasattr(info, "dbname"):  # libpq: psycopg2, psycopg
        return info.host, info.port, info.dbname
    if hasattr(driver, "_addr") and hasattr(
        driver, "_params"
    ):  # asyncpg, which has no public name
        address, database = driver._addr, driver._params.database
        if isinstance(address, tuple):
            return *address, database
        return address, None, database
    database = _first(driver, _DATABASE)
    if socket := _mysql_socket(driver):
        return socket, None, database
    return _first(driver, _HOST), _first(driver, _PORT), database


def _mysql_socket(driver: Any) -> str | None:
    if socket := getattr(driver, "unix_socket", None):
        return str(socket)
    host_info = getattr(driver, "get_host_info", str)()
    return "/" if "UNIX socket" in host_info else None


def _first(driver: Any, names: tuple[str, ...]) -> Any:
    return next(
        (value for name in names if (value := getattr(driver, name, None))), None
    )


def _sqlite_file(pooled: Any) -> str | None:
    cursor = pooled.cursor()
    try:
        cursor.execute("PRAGMA database_list")
        return file_name(cursor.fetchall()[0][2])
    finally:
        cursor.close()
