#!/usr/bin/env bash
# grpcio 1.85.3.
#
# One object that implements all four of grpc.aio's client interceptor classes, given to a channel, is called for
# unary-unary calls only: the channel files each interceptor under the first class that fits and asks no further. The
# three other kinds of calls go round it, silently. The same methods in four objects are all called.
#
# Expected by most: an interceptor is called for every kind of call that it implements, as the synchronous
# grpc.intercept_channel does, or refused. One that was tried with a unary call only seems to work.
#
# Output seen:
#   one object:   ['unary_unary']
#   four objects: ['unary_unary', 'unary_stream', 'stream_unary', 'stream_stream']
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet grpcio==1.85.3
"$folder/venv/bin/python" - <<'PROGRAM'
import asyncio

import grpc

KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


def interceptor(kinds, seen):
    def method(kind):
        async def intercept(self, call, details, request):
            seen.append(kind)
            return await call(details, request)

        return intercept

    bases = [getattr(grpc.aio, f"{kind.title().replace('_', '')}ClientInterceptor") for kind in kinds]
    return type("Interceptor", tuple(bases), {f"intercept_{kind}": method(kind) for kind in kinds})()


async def one(request, context):
    return b""


async def many(request, context):
    yield b""


async def main():
    of = {kind: getattr(grpc, f"{kind}_rpc_method_handler")(one if kind.endswith("y") else many) for kind in KINDS}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("t", of)])
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    for name, objects, expected in (("one object:  ", [KINDS], KINDS[:1]), ("four objects:", zip(KINDS), KINDS)):
        seen = []
        async with grpc.aio.insecure_channel(target, interceptors=[interceptor(o, seen) for o in objects]) as channel:
            for kind in KINDS:
                call = getattr(channel, kind)(f"/t/{kind}")(b"" if kind.startswith("unary") else iter([b""]))
                assert ([await call] if kind.endswith("unary") else [reply async for reply in call]) == [b""]
        print(name, seen)
        assert seen == expected, seen
    await server.stop(0)


asyncio.run(main())
PROGRAM
