"""One trace through HTTP and gRPC, sync and aio, over four processes."""

from __future__ import annotations

import obs_grpc_chain as chain
import pytest

pytest.importorskip(
    "fastapi",
    reason="the chain begins with FastAPI, which the tests of obs-grpc alone do not need",
)
pytest.importorskip("obs_http")
EXPECTED = """
GET /orders/{order_id} [SERVER] service='front' user.id='u-7'
  GET [CLIENT] service='front'
    GET /stock/{item_id} [SERVER] service='back' user.id='u-7'
      obs.test.Echo/UnaryUnary [CLIENT] service='back'
        obs.test.Echo/UnaryUnary [SERVER] service='sync' user.id='u-7'
          obs.test.Echo/UnaryUnary [CLIENT] service='sync'
            obs.test.Echo/UnaryUnary [SERVER] service='aio' user.id='u-7'
      obs.test.Echo/UnaryStream [CLIENT] service='back'
        obs.test.Echo/UnaryStream [SERVER] service='sync' user.id='u-7'
          obs.test.Echo/UnaryStream [CLIENT] service='sync'
            obs.test.Echo/UnaryStream [SERVER] service='aio' user.id='u-7'
"""


@pytest.mark.timeout(300)  # four interpreters start one after the other
@pytest.mark.promise("RPC-02", "HTTP-01", "HTTP-07", "HTTP-08", "CORE-60")
def test_fastapi_httpx_fastapi_grpc_and_aio_grpc_are_one_trace() -> None:
    """Four processes that export for themselves: one trace, one correlation id on every span and in every answer."""
    answer, spans = chain.chain()
    assert chain.tree(spans, "user.id") == EXPECTED.strip()
    assert len({span.trace_id for span in spans}) == 1
    assert {span.attributes.get("correlation_id") for span in spans} == {
        chain.CORRELATION_ID
    }
    unary, many = (
        f"{text} aio={chain.CORRELATION_ID} sync={chain.CORRELATION_ID}"
        for text in ("one", "many")
    )
    further_in = {"back": chain.CORRELATION_ID, "unary": unary, "stream": [many, many]}
    back = {"header": chain.CORRELATION_ID, **further_in}
    assert answer == {
        "status": 200,
        "header": chain.CORRELATION_ID,
        "front": chain.CORRELATION_ID,
        "back": back,
    }
