#!/usr/bin/env bash
# redis 8.1.0 with pybreaker 1.4.1: the asyncio MultiDBClient, which warns that it is experimental.
#
# The client starts its recurring health checks within the first command that is sent, as a task, which copies the
# context variables of that moment. For the rest of the process, all background checks see the context variables of
# the request that happened to be first: its trace, its tenant, its user, its logger's fields.
#
# Expected by most: checks that belong to the client run in no request's context.
#
# Output seen (what the checks found in a variable that each request sets):
#   checks during the first request: {'first'}
#   checks during the second request: {'first'}
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet redis==8.1.0 pybreaker==1.4.1
"$folder/venv/bin/python" -W ignore - <<'PROGRAM'
import asyncio
from contextvars import ContextVar

from redis.asyncio.multidb.client import MultiDBClient
from redis.asyncio.multidb.config import DatabaseConfig, MultiDbConfig
from redis.asyncio.multidb.healthcheck import AbstractHealthCheck

request, found = ContextVar("request", default="none"), []


class Check(AbstractHealthCheck):
    async def check_health(self, database, hc_client):
        found.append(request.get())
        return True


async def redis_server(reader, writer):  # as much of one as this needs: it says OK to each command
    while count := await reader.readline():
        for _ in range(int(count[1:])):
            await reader.readexactly(int((await reader.readline())[1:]) + 2)
        writer.write(b"+OK\r\n")
    writer.close()


async def handle(name, client):
    request.set(name)
    assert await client.execute_command("SET", "key", name)
    await asyncio.sleep(0.5)


async def main():
    server = await asyncio.start_server(redis_server, "127.0.0.1", 0)
    url = "redis://127.0.0.1:%d/0?protocol=2" % server.sockets[0].getsockname()[1]
    checks = {"health_checks": [Check(health_check_probes=1)], "health_check_interval": 0.1}
    client = MultiDBClient(MultiDbConfig(databases_config=[DatabaseConfig(from_url=url)], **checks))
    for name in ("first", "second"):
        found.clear()
        await asyncio.create_task(handle(name, client))
        print(f"checks during the {name} request: {set(found)}")
        assert len(found) > 1 and set(found) == {"first"}, found
    await client.aclose()
    server.close()


asyncio.run(main())
PROGRAM
