"""Whatever comes from outside, nothing raises that is not said, and nothing hangs: headers, variables, OTLP, spool files, SQL.

A few examples here; ``nox -s fuzz -- --minutes=10`` tries new ones until its time is over.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from obs_core import TracingConfig
from obs_core._config.settings import Settings, resolve
from obs_core._config.table import SETTINGS
from obs_core._export.encode.encoder import Encoder
from obs_core._export.spool.segment import Segment
from obs_core._export.spool.spool import Spool
from obs_core.integration import extract
from obs_db.sqlalchemy._statement import describe
from obs_http.server._propagation import remote_context
from obs_view._bad_records import LOGS, SPANS, BadRequestError
from obs_view._otlp import JSON, PROTOBUF, parse, to_json
from obs_view._store import Store
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

#: Longer than any input here may take, on a machine that is busy elsewhere.
PATIENCE_S = 5.0

some = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "30")),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@contextmanager
def in_time() -> Iterator[None]:
    """Fail if the block takes longer than any input may."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < PATIENCE_S


def mutated(
    seeds: list[bytes], inserts: st.SearchStrategy[bytes]
) -> st.SearchStrategy[bytes]:
    """Return one of `seeds`, cut, repeated and with pieces put in or changed."""

    def change(
        whole: bytes, edits: list[tuple[float, int, bytes]], end: float
    ) -> bytes:
        for place, removed, insert in edits:
            at = int(place * len(whole))
            whole = whole[:at] + insert + whole[at + removed :]
        return whole[: int(end * len(whole)) or len(whole)]

    share = st.floats(0, 1, allow_nan=False)
    edits = st.lists(st.tuples(share, st.integers(0, 9), inserts), max_size=4)
    return st.builds(change, st.sampled_from(seeds), edits, st.just(0.0) | share)


# servers decode headers as latin-1
_latin = st.text(st.characters(max_codepoint=255), max_size=5)
_pieces = st.sampled_from(
    ["00", "-", "0" * 32, "ab" * 16, "cd" * 8, "01", "ff", ",", "=", ";", " ", "\t", "%", "%00", "%ff", "é", "x" * 600]
)  # fmt: skip
_values = st.lists(_pieces | _latin, max_size=40).map("".join)
_carriers = st.dictionaries(
    st.sampled_from(["traceparent", "tracestate", "baggage", "x-other"]),
    st.lists(_values, max_size=3),
)


@some
@given(_carriers, st.booleans())
def test_headers(carrier: dict[str, list[str]], trusted: bool) -> None:
    """A stranger's headers give a context."""
    with in_time():
        remote_context(
            {name: list(found) for name, found in carrier.items()}, trusted=trusted
        )
        extract({name: "".join(found) for name, found in carrier.items()})


VARIABLES = sorted(
    {found.name for setting in SETTINGS.values() for found in setting.variables}
    | {"OTEL_TRACES_SAMPLER_ARG", "OTEL_ATTRIBUTE_COUNT_LIMIT"}
)
_texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_settings = st.sampled_from(
    ["grpc", "http/protobuf", "http://[::1", "http://a:b", ":0",
     "h:99999", "1e309", "-0", "nan", "inf", "9" * 400, "a=b,", "%zz=", "traceidratio"]
)  # fmt: skip


@some
@given(st.dictionaries(st.sampled_from(VARIABLES), _settings | _texts))
def test_configuration(environ: dict[str, str]) -> None:
    """An environment, however wrong, leaves a service with settings."""
    with in_time():
        found = resolve(TracingConfig.from_env(), environ)
    assert isinstance(found, Settings)
    assert "password" not in repr(found)


def _request() -> trace_service_pb2.ExportTraceServiceRequest:
    request = trace_service_pb2.ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "orders"
    spans = group.scope_spans.add().spans
    for number in (1, 2):
        span = spans.add(trace_id=b"t" * 16, span_id=bytes([number]) * 8, name="order")
        span.attributes.add(key="n").value.int_value = number
        span.events.add(name="event", time_unix_nano=3)
        span.links.add(trace_id=b"l" * 16, span_id=b"l" * 8)
    return request


REQUEST = _request()
JSON_TEXT = str(to_json(REQUEST)).replace("'", '"').encode()
_numbers = st.sampled_from(
    [
        b"1e999",
        b"-1",
        b"9" * 400,
        b"NaN",
        b"null",
        b"[[[[",
        b"{",
        b'"\\ud800"',
        b"\x00",
        b"\xff",
    ]
)
_deep = st.integers(1, 100_000).map(lambda depth: b"[" * depth)


@some
@given(
    mutated([REQUEST.SerializeToString(), b""], st.binary(max_size=6)),
    st.sampled_from([SPANS, LOGS]),
)
def test_otlp_protobuf(body: bytes, signal: object) -> None:
    """obs-view takes a request, or says that the request is bad."""
    _receive(body, PROTOBUF, signal)


@some
@given(mutated([JSON_TEXT, b""], _numbers | _deep), st.sampled_from([SPANS, LOGS]))
def test_otlp_json(body: bytes, signal: object) -> None:
    """obs-view takes a request, or says that the request is bad."""
    _receive(body, JSON, signal)


def _receive(body: bytes, kind: str, signal: object) -> None:
    store = Store()
    with in_time(), suppress(BadRequestError):
        found = parse(body, kind, signal)  # type: ignore[arg-type] # one of two signals
        if signal is SPANS:
            store.add(found.request)
            store.traces()
        else:
            store.logs.add(found.request)


SPAN = ReadableSpan(
    "order", SpanContext(1, 7, is_remote=False), resource=Resource({"a": "b"}), attributes={"n": 1}, start_time=1, end_time=2
)  # fmt: skip
OF_1_0 = b"""
["r",1,{"service.name":"s"}]
["s",1,"order",[1,2,false,1,""],null,1,1,2,[1,null],{"n":1},[["event",3,{}]],[[[1,2,true,1,"a=b"],{}]],["scope","1"]]
["d",[7]]
"""


def _written() -> bytes:
    """Return a file of spans as a spool writes it."""
    with tempfile.TemporaryDirectory() as folder:
        segment = Segment.begin(Path(folder))
        for _ in range(3):
            segment.write(Encoder().span(SPAN))
        segment.settle([7], exported=True)
        content = segment.path.read_bytes()
        segment.close()
    return content


_broken = st.sampled_from(
    [b"\n", b'["s",1,', b'["r",1,[]]\n', b'["g",1,1]\n', b'["d",7]\n',
     b"null", b"{}", b"[]", b'"a"', b"1e999", b"\ne", b"\xff", b" ", b'["d",[[]]]\n', b"-1"]
)  # fmt: skip


@some
@given(
    content=mutated([_written(), OF_1_0, b""], _broken | _deep | st.binary(max_size=6))
)
def test_spool_files(content: bytes, tmp_path: Path) -> None:
    """Of a truncated, foreign or half-written file the sound spans are read; it cannot stop the replay of the others."""
    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    (folder / "1.spans").write_bytes(content)
    spool = Spool(folder, 1 << 20, 60.0)
    with in_time():
        segment = spool.oldest()
        assert segment is not None
        list(segment.unsettled())
        spool.remove(segment)
        spool.close()


_fragments = st.sampled_from(
    ["SELECT ", "FROM ", "'", '"', "`", "$$", "$a$", "--", "/*", "*/", "\\", "(", ")", ",", "?", ":a", "%s", "1e", "0x", "E'",
     "N'", "#", "\n", "é", "INSERT INTO t VALUES ", "[", "]", ";", "\x00", "IN (1, "]
)  # fmt: skip
_sql = st.builds(
    lambda parts, times: "".join(parts) * times,
    st.lists(_fragments, min_size=1, max_size=12),
    st.sampled_from([1, 1, 1, 1000, 20_000]),
)
_dialects = st.sampled_from(["sqlite", "postgresql", "mysql", "mssql", "oracle", "x"])


@some
@given(_sql, _dialects)
def test_statements(sql: str, dialect: str) -> None:
    """Any text has an exported form, in a time that does not explode with its length."""
    with in_time():
        describe(sql, dialect)
