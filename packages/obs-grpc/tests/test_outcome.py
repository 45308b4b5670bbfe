"""Four shapes of RPC, six ends, sync and aio: what both sides' spans say."""

from __future__ import annotations

import logging

import obs_grpc_matrix as matrix
import pytest

EXPECTED = {
    "ok": (("UNSET", 0), ("UNSET", 0)),
    "raise": (("ERROR", 2), ("ERROR", 2)),
    "abort": (("ERROR", 5), ("UNSET", 5)),
    "deadline": (("ERROR", 4), ("ERROR", 4)),
    "cancel": (("ERROR", 1), ("UNSET", 1)),
    "break": (("ERROR", 1), ("UNSET", 1)),
}


@pytest.fixture(autouse=True)
def quiet_grpc() -> None:
    """Keep grpc's log of crashed handlers out of the report."""
    logging.getLogger("grpc").setLevel(logging.CRITICAL + 1)


@pytest.mark.promise("RPC-02", "RPC-03", "RPC-05", "RPC-08")
@pytest.mark.parametrize("end", matrix.ENDS)
@pytest.mark.parametrize("shape", matrix.SHAPES)
@pytest.mark.parametrize("flavour", matrix.FLAVOURS)
def test_matrix(flavour: str, shape: str, end: str) -> None:
    """One CLIENT span and one SERVER span below it, both ended, with the code that both sides got."""
    result = matrix.run(flavour, shape, end)
    client, server = result.spans.of("CLIENT"), result.spans.of("SERVER")
    assert (result.side("CLIENT"), result.side("SERVER")) == EXPECTED[end]
    assert result.code.value[0] == EXPECTED[end][0][1]
    assert result.spans.started == len(result.spans.ended) == 2
    assert client.name == server.name == f"obs.test.Echo/{shape}"
    assert server.parent is not None
    assert (server.parent.trace_id, server.parent.span_id) == (
        client.context.trace_id,
        client.context.span_id,
    )
    assert client.parent is None
    assert [event.name for event in client.events] == []
    assert [event.name for event in server.events] == (
        ["exception"] if end == "raise" else []
    )
