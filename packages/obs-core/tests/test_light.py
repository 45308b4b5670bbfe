"""A span of our provider behaves as the SDK's span, whatever is done with it."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obs_core._provider.sampling import SwitchableSampler
from obs_core._provider.tracers import LightProvider
from obs_core._spans.light import LightSpan
from opentelemetry import trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

pytestmark = pytest.mark.promise("CORE-80")
NOW = 1_700_000_000_000_000_000


class Text(str):
    """A subclass of a plain type."""


class Colour(str, enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class Named:
    def __str__(self) -> str:
        return "named"


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no text")


class Bare:
    """Without a text of its own."""


class OddMapping(Mapping[Any, Any]):
    def __init__(self, entries: Mapping[Any, Any]) -> None:
        self.entries = entries

    def __getitem__(self, key: Any) -> Any:
        return self.entries[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def copy(self) -> OddMapping:
        return OddMapping(dict(self.entries))


TEXTS = st.text(st.characters(exclude_categories=()), max_size=4)
PLAIN = st.one_of(
    TEXTS,
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from([2**63, 2**64, -(2**70)]),
)
ODD = st.one_of(
    st.none(),
    st.binary(max_size=3),
    st.sampled_from(
        [Text("t"), Colour.RED, Number.ONE, Named(), Unprintable(), Bare(), object]
    ),
    st.sets(st.integers(), max_size=1),
    st.complex_numbers(max_magnitude=2),
)
VALUES = st.recursive(
    PLAIN | ODD,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(TEXTS, st.integers(), st.none()), inner, max_size=2),
    ),
    max_leaves=4,
)
KEYS = st.one_of(
    st.sampled_from(["a", "b", "c", "d", ""]),
    st.sampled_from([Text("a"), Colour.RED, 1, None, b"a", ("a",), Bare()]),
)
GIVEN = st.one_of(
    st.none(),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), PLAIN, max_size=4),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), VALUES, max_size=2),
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]), PLAIN | st.tuples(TEXTS, TEXTS), max_size=3
    ),
    st.dictionaries(KEYS, PLAIN, max_size=2),
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.dictionaries(KEYS, VALUES, max_size=2).map(OddMapping),
    st.dictionaries(KEYS, VALUES, max_size=2).map(MappingProxyType),
    st.sampled_from([[("a", 1)], "text", 5]),
)
TIMES = st.one_of(st.none(), st.integers(0, NOW))
CODES = st.sampled_from(list(StatusCode))
CONTEXTS = st.builds(
    lambda trace_id, span_id, entries: SpanContext(
        trace_id, span_id, True, TraceFlags(1), TraceState(entries)
    ),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([[], [("vendor", "x")]]),
)
SETTING = st.one_of(
    st.tuples(st.just("set_attribute"), KEYS, VALUES),
    st.tuples(st.just("set_attribute"), st.sampled_from("abcd"), PLAIN),
    st.tuples(st.just("set_attributes"), GIVEN),
    st.tuples(
        st.just("set_attributes"), st.dictionaries(st.sampled_from("abcd"), PLAIN)
    ),
)
OTHERS = st.one_of(
    st.tuples(st.just("add_event"), TEXTS, GIVEN, TIMES),
    st.tuples(st.just("add_link"), CONTEXTS, GIVEN),
    st.tuples(st.just("update_name"), TEXTS),
    st.tuples(st.just("set_status"), CODES),
    st.tuples(st.just("set_status"), CODES, st.none() | TEXTS),
    st.tuples(
        st.just("set_status"),
        st.builds(Status, CODES, st.none() | TEXTS),
        st.none() | TEXTS,
    ),
    st.tuples(st.just("set_status"), st.just("OK")),
    st.tuples(
        st.just("record_exception"),
        st.sampled_from([ValueError("x"), KeyError()]),
        GIVEN,
        TIMES,
    ),
    st.tuples(
        st.just("__exit__"),
        st.none(),
        st.sampled_from([None, ValueError("x")]),
        st.none(),
    ),
    st.tuples(st.just("start"), TIMES),
    st.tuples(st.just("end"), TIMES),
    st.tuples(st.just("is_recording")),
)
SIZES = st.sampled_from([None, 0, 1, 2, 3])
LIMITS = st.one_of(
    st.just(()),
    st.tuples(SIZES, SIZES, SIZES, SIZES, SIZES, SIZES, SIZES, SIZES),
    # limits of the span's own attributes alone
    st.tuples(*[st.none()] * 3, SIZES, *[st.none()] * 3, st.none()),
    st.tuples(*[st.none()] * 7, SIZES),
)
SAMPLER = ParentBased(TraceIdRatioBased(1.0))


class FixedIds(IdGenerator):
    def generate_span_id(self) -> int:
        return 7

    def generate_trace_id(self) -> int:
        return 9


class Watcher(sdk.SpanProcessor):
    """Remembers how a span looks at each call."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_start(self, span: sdk.Span, parent_context: Any = None) -> None:
        self.seen.append(("start", parent_context, *appearance(span)))

    def _on_ending(self, span: sdk.Span) -> None:
        self.seen.append(("ending", *appearance(span)))

    def on_end(self, span: sdk.ReadableSpan) -> None:
        self.seen.append(("end", *appearance(span)))


def appearance(span: sdk.ReadableSpan) -> tuple[Any, ...]:
    """Everything that a span shows, with the types, for NaN is not equal to itself."""
    return (
        *(span.name, span.kind, span.start_time, span.end_time, span.parent),
        *(span.context, span.get_span_context(), span.resource.attributes),
        *(span.status.status_code, span.status.description, span.instrumentation_scope),
        *map(repr, (list((span.attributes or {}).items()), span.attributes)),
        [
            (e.name, e.timestamp, repr(list((e.attributes or {}).items())))
            for e in span.events
        ],
        [
            (link.context, repr(list((link.attributes or {}).items())))
            for link in span.links
        ],
        (span.dropped_attributes, span.dropped_events, span.dropped_links),
        outcome(span.to_json),
    )


def outcome(call: Callable[..., Any], *given: Any) -> tuple[Any, ...]:
    try:
        return ("returned", call(*given))
    except Exception as error:
        return ("raised", type(error))


@contextmanager
def logged() -> Iterator[list[tuple[str, str]]]:
    """The SDK's warnings."""
    lines: list[tuple[str, str]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((record.name, record.getMessage()))

    handler, root = Keep(), logging.getLogger("opentelemetry")
    root.addHandler(handler)
    try:
        yield lines
    finally:
        root.removeHandler(handler)


def lived(
    kind: type[sdk.TracerProvider],
    is_known: bool,
    limits: tuple[int | None, ...],
    start: tuple[Any, ...],
    links: list[tuple[Any, ...]],
    operations: list[tuple[Any, ...]],
) -> list[Any]:
    """Make a span, do all operations; return everything that could be seen meanwhile."""
    watcher = Watcher()
    is_ours = kind is LightProvider
    provider = kind(
        SwitchableSampler(SAMPLER) if is_ours and is_known else SAMPLER,
        resource=Resource({"service.name": "s"}),
        id_generator=FixedIds(),
        span_limits=sdk.SpanLimits(*limits),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(watcher)
    history: list[Any] = []
    with (
        patch("obs_core._spans.light.time_ns", lambda: NOW),
        patch("opentelemetry.sdk.trace.time_ns", lambda: NOW),
        logged() as lines,
    ):
        name, attributes, started_at, *flags = start
        made = [Link(*link) for link in links]
        result = outcome(
            provider.get_tracer("scope", "1").start_span,
            *(name, None, trace.SpanKind.CLIENT, attributes, made, started_at, *flags),
        )
        if result[0] == "raised":
            return [result, watcher.seen, lines]
        span = result[1]
        assert isinstance(span, LightSpan) is is_ours
        for method, *given_ in operations:
            history += [outcome(getattr(span, method), *given_), *appearance(span)]
        span.end()
        history += appearance(span)
        history += appearance(span._readable_span())
    return [history, watcher.seen, lines]


STARTS = st.tuples(TEXTS, GIVEN, TIMES, st.booleans(), st.booleans())
LINKS = st.lists(st.tuples(CONTEXTS, GIVEN), max_size=4)


@pytest.mark.parametrize("is_known", [True, False], ids=["our sampler", "any sampler"])
@pytest.mark.parametrize(
    "operations", [SETTING, SETTING | OTHERS], ids=["attributes", "all"]
)
def test_is_what_the_sdks_span_is_at_every_step(
    is_known: bool, operations: Any
) -> None:
    """The same operations: the same spans, in every field, the same warnings, errors and calls of processors."""

    @settings(max_examples=200, deadline=None)
    @given(st.tuples(LIMITS, STARTS, LINKS, st.lists(operations, max_size=10)))
    def check(life: Any) -> None:
        assert lived(LightProvider, is_known, *life) == lived(
            sdk.TracerProvider, is_known, *life
        )

    check()
