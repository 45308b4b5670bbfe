"""A batch that a collector would refuse for its size is sent in parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from obs_core._export import request_size
from obs_core._export.encode.encoder import EncodedItem, Encoder
from obs_core._export.verdict import take_verdict
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

pytestmark = pytest.mark.promise("CORE-29", "CORE-32")

EXPORT = """
import json
manager, _ = setup_tracing(TracingConfig(
    service_name="s", collector_url=sys.argv[1], collector_protocol=sys.argv[2], spool_dir=sys.argv[3] or None,
    exit_timeout_s=10))
for number in range(100):
    size = 1_000_000 if number % 10 == 5 else 10
    tracer.start_span(f"span {number}", attributes={"document": "x" * size}).end()
flushed = manager.flush(60)
print(json.dumps([flushed, manager.stats().exported, manager.stats().failed]))
"""


@pytest.mark.parametrize("spooled", [False, True])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_large_spans_cost_nobody_s_export(
    run: Any,
    otlp_sink: Any,
    grpc_sink: Any,
    tmp_path: Path,
    protocol: str,
    spooled: bool,
) -> None:
    """Ten of 1 MB among a hundred, to a server of gRPC that takes 4 MiB in a message: each arrives, once."""
    sink = {"grpc": grpc_sink, "http": otlp_sink}[protocol]
    spool = str(tmp_path / "spool") if spooled else ""
    done = run(EXPORT, sink.url, protocol, spool)
    assert json.loads(done.stdout) == [True, 100, 0]
    names = [getattr(span, "name", span) for span in sink.wait_for(100)]
    assert sorted(names) == sorted(f"span {number}" for number in range(100))
    assert done.stderr == ""


def item(size: int) -> EncodedItem:
    """An encoded span of some `size` bytes."""
    context = SpanContext(1, 2, is_remote=False)
    span = ReadableSpan("s", context, attributes={"a": "x" * size}, start_time=1)
    return Encoder().span(span)


SMALL, THIRD, WHOLE = (
    item(size)
    for size in (
        10,
        request_size.MAX_REQUEST_BYTES // 3,
        request_size.MAX_REQUEST_BYTES,
    )
)


@pytest.mark.parametrize(
    ("batch", "fit"),
    [
        ([], 0),
        ([SMALL] * 512, 512),
        ([WHOLE, SMALL], 1),
        ([SMALL, WHOLE], 1),
        ([SMALL, THIRD, THIRD, THIRD], 3),
    ],
)
def test_what_fits_makes_no_larger_request(batch: list[EncodedItem], fit: int) -> None:
    """The first spans up to the bound, or a single one that is larger itself."""
    assert request_size.how_many_fit(batch) == fit
    request_size.encode(Encoder(), batch[:fit])
    assert not take_verdict().is_too_large


def test_a_request_that_is_too_large_is_not_made() -> None:
    """The verdict is for one batch."""
    with pytest.raises(request_size.TooLargeError):
        request_size.encode(Encoder(), [SMALL, WHOLE])
    assert take_verdict().is_too_large
    assert not take_verdict().is_too_large
