"""The direct encoder writes, for every span, the message that the SDK's encoder builds."""

from __future__ import annotations

import enum
import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from obs_core._export.encode.attributes import MAX_KEPT_CHARACTERS, AttributeTable
from obs_core._export.encode.encoder import Encoder
from obs_core._export.encode.recent import Recent
from obs_core._export.utf8 import encodable
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

pytestmark = pytest.mark.promise("CORE-36")

ENCODER = Encoder()


@pytest.fixture(autouse=True)
def quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """The SDK complains about each of the odd values here."""
    logging.disable(
        logging.NOTSET if "caplog" in request.fixturenames else logging.CRITICAL
    )
    yield
    logging.disable(logging.NOTSET)


class Colour(str, enum.Enum):
    RED = "red"


class Number(int):
    pass


class Loose(str):
    """Equal to any text, with the hash of ``x``: no table may take another's bytes for its own."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str)

    def __hash__(self) -> int:
        return hash("x")


def message(
    spans: Iterable[Any], encoder: Encoder = ENCODER
) -> ExportTraceServiceRequest:
    """The message that the direct encoder's bytes hold."""
    return ExportTraceServiceRequest.FromString(encoder.request(spans))


def assert_equal(spans: Sequence[ReadableSpan], encoder: Encoder = ENCODER) -> None:
    """Twice, since the second time the tables know the values."""
    theirs = encode_spans([encodable(span) for span in spans])
    for _ in range(2):
        ours = message(spans, encoder)
        # bytes, since NaN is not equal to itself
        assert serialised(ours) == serialised(theirs)


def serialised(found: ExportTraceServiceRequest) -> bytes:
    """The canonical bytes of a message."""
    return found.SerializeToString(deterministic=True)


text = st.text(max_size=6) | st.sampled_from(
    ("", "x", "\ud800", "a\udfffb", "é" * 64, "y" * 200)
)
whole = (
    st.integers(-5, 5)
    | st.integers(-(2**70), 2**70)
    | st.sampled_from(
        (127, 128, 2**14 - 1, 2**14, 2**21, 2**31, 2**63 - 1, 2**63, -(2**63), -1)
    )
)
number = (
    whole
    | st.booleans()
    | st.floats()
    | st.sampled_from((0, 0.0, -0.0, 1, 1.0, True, False))
)
scalar = text | number | st.binary(max_size=6)
odd = st.sampled_from(
    (None, Colour.RED, Number(7), Loose("x"), object, 1 + 2j, range(3))
)
value = st.recursive(
    scalar | odd,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(text, inner, max_size=3)
    ),
    max_leaves=6,
)
key = text | st.sampled_from(("a", "b", "http.route", "k" * 65))
plain = st.dictionaries(key, value, max_size=5)
valid = st.dictionaries(
    key, scalar | st.lists(st.integers(-9, 9), max_size=3), max_size=5
)
mapping = (
    plain
    | plain.map(MappingProxyType)
    | plain.map(OrderedDict)
    | valid.map(lambda found: BoundedAttributes(4, found, max_value_len=150))
    | st.none()
)
trace_state = st.none() | st.dictionaries(
    st.sampled_from(("a", "b@c")), st.sampled_from(("1", "x=y")), max_size=2
).map(lambda found: TraceState(list(found.items())))
context = st.builds(
    SpanContext,
    st.integers(0, 2**128 - 1),
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.integers(0, 255).map(TraceFlags),
    trace_state,
)
moment = st.integers(0, 2**64 - 1)
event = st.builds(Event, text, mapping, moment)
link = st.builds(Link, context, mapping)
scope = st.none() | st.builds(
    InstrumentationScope,
    st.sampled_from(("one", "two", "")),
    st.sampled_from((None, "", "1")),
    st.sampled_from((None, "", "https://schema")),
    st.none() | valid,
)
resource = st.builds(
    Resource,
    st.dictionaries(st.sampled_from("abc"), scalar),
    st.sampled_from((None, "", "https://schema")),
)


@st.composite
def span(
    draw: st.DrawFn, resources: st.SearchStrategy[Resource] = resource
) -> ReadableSpan:
    """Any span, with the counts of what the limits dropped."""
    return ReadableSpan(
        draw(text),
        draw(context),
        draw(st.none() | context),
        draw(resources),
        draw(mapping),
        draw(st.lists(event, max_size=2)),
        draw(st.lists(link, max_size=2)),
        draw(st.sampled_from(SpanKind)),
        status=draw(st.builds(Status, st.sampled_from(StatusCode), st.none() | text)),
        start_time=draw(st.none() | moment),
        end_time=draw(st.none() | moment),
        instrumentation_scope=draw(scope),
    )


RESOURCE = Resource({"service.name": "shop"})


def a_span(name: str = "span", **fields: Any) -> ReadableSpan:
    """A span with the given fields, by default of the same resource: the SDK would look for detectors for each."""
    fields = {
        "context": INVALID_SPAN_CONTEXT,
        "resource": RESOURCE,
        "start_time": 1,
        "end_time": 2,
        **fields,
    }
    return ReadableSpan(name, **fields)


@settings(max_examples=100, deadline=None)
@given(st.lists(span(), max_size=4))
def test_any_batch_is_the_sdk_s_message(spans: list[ReadableSpan]) -> None:
    """Whatever the spans hold; text without UTF-8 form is repaired first."""
    assert_equal(spans)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(key, value), max_size=6))
@example([("a", True), ("a", 1), ("a", 1.0), ("a", "1")])
@example([("a", 0.0), ("a", -0.0), ("a", 0), ("a", False), ("a", math.nan)])
@example([("a", (1,)), ("a", (True,)), ("a", (1.0,))])
@example([("a", "x"), ("a", Loose("x")), ("a", "x"), ("x", Loose("y")), ("x", "y")])
@example([("a", "red"), ("a", Colour.RED), ("a", 7), ("a", Number(7))])
def test_equal_values_of_other_types_are_told_apart(
    pairs: list[tuple[str, Any]],
) -> None:
    """The same key with 1, 1.0 and True, span after span, in the table of one encoder."""
    encoder = Encoder()
    for name, found in pairs * 2:
        assert_equal([a_span(attributes={name: found})], encoder)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(span(st.sampled_from([Resource({"a": n}) for n in (1, 1, 2)])), max_size=6)
)
def test_spans_are_grouped_as_by_the_sdk(spans: list[ReadableSpan]) -> None:
    """Equal resources and equal scopes are one group, in the order of their first spans."""
    assert_equal(spans)


def test_equal_scopes_that_take_turns_are_one() -> None:
    """The spans keep their order."""
    scopes = [InstrumentationScope(name) for name in ("a", "a", "b", "a")]
    assert_equal(
        [a_span(str(n), instrumentation_scope=scopes[n % 4]) for n in range(9)]
    )


def test_equal_resources_of_other_order_are_one() -> None:
    """The message has the order of the first in the batch."""
    one, other = Resource({"a": 1, "b": 2}), Resource({"b": 2, "a": 1})
    spans = [a_span(resource=found) for found in (one, other)]
    assert_equal(spans)
    assert_equal(spans[::-1])
    assert_equal(spans[1:])


def test_a_resource_that_changes_is_encoded_anew() -> None:
    """As the resource of a set-up does in a forked child."""

    class Changing(Resource):
        current: ClassVar[dict[str, Any]] = {"pid": 1}

        @property
        def attributes(self) -> Any:
            return self.current

    resource = Changing({})
    assert_equal([a_span(resource=resource)])
    Changing.current = {"pid": 2}
    assert_equal([a_span(resource=resource)])


def test_counts_of_what_was_dropped() -> None:
    """Of spans, events and links."""
    attributes = BoundedAttributes(1, {"a": 1, "b": 2})
    dropped = a_span(
        attributes=attributes,
        events=[Event("e", attributes, 5)],
        links=[Link(INVALID_SPAN_CONTEXT, attributes)],
    )
    [group] = message([dropped]).resource_spans
    [found] = group.scope_spans[0].spans
    assert found.dropped_attributes_count == 1
    assert found.events[0].dropped_attributes_count == 1
    assert found.links[0].dropped_attributes_count == 1
    assert_equal([dropped])


@pytest.mark.parametrize(
    "wrong", [{"start_time": -1}, {"context": SpanContext(1 << 130, 1, False)}]
)
def test_a_span_that_the_sdk_refuses_is_refused(wrong: dict[str, Any]) -> None:
    """A batch is not sent with a part of its spans in silence."""
    found = a_span(**wrong)
    with pytest.raises(Exception) as theirs:
        encode_spans([found])
    with pytest.raises(type(theirs.value)):
        ENCODER.request([found])


def test_a_value_that_otlp_cannot_hold_is_left_out_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once, not for each span."""
    found = a_span(attributes={"big": 2**64, "small": 1})
    for _ in range(3):
        [kept] = message([found]).resource_spans[0].scope_spans[0].spans[0].attributes
        assert kept.key == "small"
    assert len(caplog.records) <= 1


def test_an_encoded_span_is_sent_as_it_is() -> None:
    """Beside spans that are not encoded yet, in the same groups."""
    spans = [a_span(str(n), resource=Resource({"a": 1})) for n in range(3)]
    assert_equal(spans)
    mixed = [ENCODER.span(spans[0]), spans[1], ENCODER.span(spans[2])]
    assert message(mixed) == message(spans)


def test_tables_do_not_grow_with_user_data() -> None:
    """Neither in entries nor in bytes: long values are not kept."""
    table = AttributeTable(b"\x4a")
    for n in range(30_000):
        table.encoded(
            {f"key {n % 2000}": f"value {n}", "id": n, "long": "x" * 1000 + str(n)}
        )
    kept = table._values
    assert len(kept) <= 2 * 4096
    assert len(table._keys) <= 2 * 512
    sizes = [len(found) for found in (*kept.young.values(), *kept._old.values())]
    assert max(sizes) < 6 * MAX_KEPT_CHARACTERS
    assert sum(kind is int for kind, _, _ in kept.young) < 30_000 / 8


def test_a_table_forgets_what_is_not_used() -> None:
    """What is used stays, however much else comes."""
    table: Recent[int, bytes] = Recent(10)
    table.keep(-1, b"used")
    for n in range(100):
        table.keep(n, b"")
        assert table.recall(-1) == b"used"
    assert table.recall(0) is None
    assert len(table) <= 20


def test_threads_share_an_encoder() -> None:
    """More values than a table keeps, from several threads at once."""
    encoder = Encoder()
    batches = [
        [
            a_span(str(n), attributes={f"k{n % 700}": n, "thread": who})
            for n in range(3000)
        ]
        for who in range(4)
    ]
    wrong: list[int] = []

    def work(who: int) -> None:
        if message(batches[who], encoder) != encode_spans(batches[who]):
            wrong.append(who)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
