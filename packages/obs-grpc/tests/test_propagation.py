"""What callers write into the metadata: every form that W3C Trace Context and Baggage rule out, and who they say they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from obs_core.testing import SpanRecorder
from obs_grpc import instrument_grpc_server
from obs_grpc_servers import (
    TIMEOUT_S,
    aio_serving,
    handlers,
    path,
    serving,
    wait_for_spans,
)
from opentelemetry import baggage

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{SPAN}-01"
MALFORMED_TRACEPARENTS = {
    "empty": "",
    "version alone": "00",
    "no dashes": VALID.replace("-", ""),
    "version too short": VALID[1:],
    "version too long": f"0{VALID}",
    "version not hex": f"0g-{TRACE}-{SPAN}-01",
    "version ff": f"ff-{TRACE}-{SPAN}-01",
    "version 00 with more at the end": f"{VALID}-more",
    "trace id zero": f"00-{'0' * 32}-{SPAN}-01",
    "trace id too short": f"00-{TRACE[:-1]}-{SPAN}-01",
    "trace id too long": f"00-{TRACE}0-{SPAN}-01",
    "trace id upper case": f"00-{TRACE.upper()}-{SPAN}-01",
    "parent id zero": f"00-{TRACE}-{'0' * 16}-01",
    "parent id too short": f"00-{TRACE}-{SPAN[:-1]}-01",
    "parent id upper case": f"00-{TRACE}-{SPAN.upper()}-01",
    "flags missing": f"00-{TRACE}-{SPAN}",
    "flags not hex": f"00-{TRACE}-{SPAN}-0g",
    "two joined by a comma": f"{VALID},{VALID}",
}
MALFORMED_TRACESTATES = {
    "no equals sign": "rojo",
    "key upper case": "ROJO=1",
    "key of 513 characters": "k" * 513 + "=1",
    "value of 257 characters": "rojo=" + "v" * 257,
    "value with an equals sign": "rojo=1=2",
    "duplicate keys": "rojo=1,rojo=2",
    "33 members": ",".join(f"k{number}=1" for number in range(33)),
}


def unary_unary(request: bytes, context: Any) -> bytes:
    return str(dict(baggage.get_all())).encode()


@pytest.fixture
def address() -> Iterator[str]:
    with serving(handlers(unary_unary=unary_unary)) as address:
        yield address


def ask(address: str, *metadata: tuple[str, str | bytes]) -> str:
    """Call an untraced client; return what the handler says of its baggage."""
    with grpc.insecure_channel(address) as channel:
        return channel.unary_unary(path("unary_unary"))(
            b"x", metadata=metadata, timeout=TIMEOUT_S
        ).decode()


def test_a_malformed_traceparent_starts_a_new_trace(
    address: str, spans: SpanRecorder
) -> None:
    """The RPC is served, binary metadata beside it or not."""
    for value in MALFORMED_TRACEPARENTS.values():
        ask(
            address,
            ("traceparent", value),
            ("tracestate", "rojo=1"),
            ("blob-bin", b"\xff\x00"),
        )
    wait_for_spans(spans, len(MALFORMED_TRACEPARENTS))
    said = dict(zip(MALFORMED_TRACEPARENTS, spans, strict=True))
    assert {
        name: (span.parent, len(span.context.trace_state))
        for name, span in said.items()
    } == dict.fromkeys(said, (None, 0))


def test_a_malformed_tracestate_is_left_out_and_the_trace_goes_on(
    address: str, spans: SpanRecorder
) -> None:
    """The traceparent stays good."""
    for value in MALFORMED_TRACESTATES.values():
        ask(address, ("traceparent", VALID), ("tracestate", value))
    wait_for_spans(spans, len(MALFORMED_TRACESTATES))
    found = [(span.context.trace_id, dict(span.context.trace_state)) for span in spans]
    assert found == [(int(TRACE, 16), {})] * len(MALFORMED_TRACESTATES)


@pytest.mark.parametrize("key", ["traceparent", "tracestate", "baggage"])
def test_what_is_oversized_is_refused_by_grpc_and_harms_nobody(
    key: str, address: str, spans: SpanRecorder
) -> None:
    """64 kB of metadata fail the RPC in gRPC itself; the next RPC is served and traced."""
    with pytest.raises(grpc.RpcError) as refused:
        ask(address, (key, "k=" + "v" * 65536))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]
    ask(address)
    wait_for_spans(spans, 1)


@pytest.mark.parametrize(
    "value",
    [
        "=",
        "k",
        "k=v;;;",
        "%zz=%zz",
        ",,,",
        "k =v, =x",
        ",".join(f"k{n}=v" for n in range(400)),
    ],
)
def test_hostile_baggage_never_raises(
    value: str, address: str, spans: SpanRecorder
) -> None:
    """The RPC is served, and the span has no more attributes than ever."""
    assert len(ask(address, ("baggage", value))) < 8192
    wait_for_spans(spans, 1)
    assert len(spans.finished[0].attributes or {}) < 10


IDENTITY = ("baggage", "user.id=u-1,tenant.id=t-1,correlation_id=c-1")


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("flavour", ["sync", "aio"])
def test_the_callers_identity_is_believed_where_that_is_asked_for(
    flavour: str, asked: bool, spans: SpanRecorder
) -> None:
    """By default it is not, since anybody can write baggage; what could forge a log line never is."""

    def instrument(server: Any) -> Any:
        return instrument_grpc_server(server, identity_from_baggage=asked)

    def ask_twice(address: str) -> None:
        ask(address, IDENTITY)
        ask(address, ("baggage", f"user.id=a%0D%0Ab,tenant.id={'t' * 257}"))

    async def aio_unary_unary(request: bytes, context: Any) -> bytes:
        return request

    async def main() -> None:
        async with aio_serving(
            handlers(unary_unary=aio_unary_unary), instrument=instrument
        ) as address:
            await asyncio.to_thread(ask_twice, address)

    if flavour == "aio":
        asyncio.run(main())
    else:
        with serving(
            handlers(unary_unary=unary_unary), instrument=instrument
        ) as address:
            ask_twice(address)
    wait_for_spans(spans, 2)
    first, second = (dict(span.attributes or {}) for span in spans)
    assert (first.get("user.id"), first.get("tenant.id")) == (
        ("u-1", "t-1") if asked else (None, None)
    )
    assert not {"user.id", "tenant.id"} & set(second)
