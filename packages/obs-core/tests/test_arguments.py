"""Captured arguments: only those asked for, redacted, bounded, and never at the call's expense."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obs_core import trace_function
from obs_core._decorators.arguments import attribute_value
from obs_core.testing import OtlpSink, SpanRecorder, record_spans


def captured(spans: SpanRecorder) -> dict[str, Any]:
    """The captured arguments of the one span."""
    (span,) = spans.finished
    return {
        key[9:]: value
        for key, value in (span.attributes or {}).items()
        if key.startswith("obs.args.")
    }


@pytest.mark.promise("CORE-44")
def test_nothing_is_captured_unless_named(spans: SpanRecorder) -> None:
    """Arguments are off by default."""

    @trace_function
    def call(order_id: int) -> None: ...

    call(7)
    assert captured(spans) == {}


@pytest.mark.promise("CORE-44")
def test_the_allow_list_binds_names_and_defaults(spans: SpanRecorder) -> None:
    """By position, by keyword, by default, and out of **kwargs; the others stay out."""

    @trace_function(capture_args=("order_id", "currency", "dry_run", "region"))
    def call(
        self: object,
        order_id: int,
        note: str,
        *rest: int,
        currency: str = "EUR",
        dry_run: bool = False,
        **more: Any,
    ) -> None:
        pass

    call(object(), 7, "private", 1, 2, dry_run=True, region="north", other="private")
    assert captured(spans) == {
        "order_id": 7,
        "currency": "EUR",
        "dry_run": True,
        "region": "north",
    }


@pytest.mark.promise("CORE-44")
def test_every_kind_captures(spans: SpanRecorder) -> None:
    """Methods, coroutines, generators and class methods alike."""

    class Shop:
        @trace_function(capture_args=("x",))
        @classmethod
        async def coroutine(cls, x: int) -> None: ...

        @trace_function(capture_args=("x",))
        def generator(self, x: int) -> Iterator[int]:
            yield x

        @trace_function(capture_args=("x",))
        async def async_generator(self, x: int) -> AsyncIterator[int]:
            yield x

    async def main() -> None:
        await Shop.coroutine(1)
        [item async for item in Shop().async_generator(2)]

    asyncio.run(main())
    list(Shop().generator(3))
    assert [span.attributes["obs.args.x"] for span in spans if span.attributes] == [
        1,
        2,
        3,
    ]


@dataclass
class Card:
    owner: str
    api_key: str
    pin: int = field(repr=False, default=1234)


@pytest.mark.promise("CORE-44", "CORE-61")
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("password", "hunter2", "[REDACTED]"),
        ("access_token", object(), "[REDACTED]"),
        ("body", {"Password": "x", "deep": [{"secret": 1}]}, "{'Password': '[REDACTED]', 'deep': [{'secret': '[REDACTED]'}]}"),
        ("card", Card("ann", "sk-1"), "{'owner': 'ann', 'api_key': '[REDACTED]'}"),
        ("url", "https://ann:pw@host/p?q=1&sig=abc", "https://REDACTED:REDACTED@host/p?q=1&sig=[REDACTED]"),
        ("data", b"secret bytes", "<12 bytes>"),
        ("nothing", None, None),
        ("ids", [1, 2], (1, 2)),
        ("tags", ("a", "b"), ("a", "b")),
        ("mixed", [1, "a"], "[1, 'a']"),
        ("big", 2**63, str(2**63)),
        ("bigs", [2**64], f"[{2**64}]"),
        ("ratio", 0.5, 0.5),
        ("yes", True, True),
        ("surrogate", "a\udc80", "a?"),
        ("nested", [[[[[1]]]]], "[[[['…']]]]"),
    ],
)  # fmt: skip
def test_values_are_redacted_and_made_exportable(
    spans: SpanRecorder, name: str, value: object, told: object
) -> None:
    """Secrets go by name, at any depth; what OTLP cannot carry becomes text."""

    @trace_function(capture_args=(name,))
    def call(**arguments: object) -> None: ...

    call(**{name: value})
    assert captured(spans) == ({} if told is None else {name: told})


@pytest.mark.promise("CORE-44", "CORE-61")
def test_the_patterns_of_the_set_up_redact_too(otlp_sink: OtlpSink) -> None:
    """`TracingConfig(redact=…)` reaches captured arguments, also of what was decorated before."""
    program = f"""
from obs_core import TracingConfig, setup_tracing, trace_function
@trace_function(capture_args=("ssn_number", "x"))
def call(ssn_number, x):
    pass
setup_tracing(TracingConfig(
    service_name="x", collector_url={otlp_sink.url!r}, collector_protocol="http", redact=["*ssn*"]))
call("123-45", 1)
"""
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)
    (span,) = otlp_sink.wait_for(1, timeout_s=20)
    assert {
        key: value
        for key, value in span.attributes.items()
        if key.startswith("obs.args.")
    } == {
        "obs.args.ssn_number": "[REDACTED]",
        "obs.args.x": 1,
    }


@pytest.mark.promise("CORE-44")
def test_values_are_bounded(spans: SpanRecorder) -> None:
    """Text is cut at 1,024 bytes, containers at 32 items: a huge argument costs little."""

    @trace_function(capture_args=("text", "items"))
    def call(text: str, items: list[Any]) -> None: ...

    call("ä" * 10_000, [object()] * 1_000_000)
    told = captured(spans)
    assert len(told["text"].encode()) <= 1024
    assert told["text"].endswith("…")
    assert len(told["items"].encode()) <= 1024


class Watched:
    """Counts how often it is shown."""

    shown = 0

    def __repr__(self) -> str:
        Watched.shown += 1
        return "<watched>"


@pytest.mark.promise("CORE-44")
def test_an_unsampled_call_never_calls_repr() -> None:
    """Neither below an unsampled root nor as one."""

    @trace_function(capture_args=("x",))
    def call(x: object, depth: int = 0) -> None:
        if depth:
            call(x, depth - 1)

    Watched.shown = 0
    with record_spans(sampling_rate=0.0):
        call(Watched(), 1)
    assert Watched.shown == 0
    with record_spans():
        call(Watched(), 1)
    assert Watched.shown == 2


@pytest.mark.promise("CORE-44")
def test_a_failing_serializer_never_breaks_the_call(
    spans: SpanRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """A `__repr__` or a `serialize` that raises costs that one attribute and one log line."""

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    def refuse(value: object) -> str:
        raise RuntimeError("refused")

    @trace_function(capture_args=("broken", "x"))
    def call(broken: object, x: int) -> int:
        return x

    @trace_function(capture_args=("y",), serialize=refuse)
    def other(y: int) -> int:
        return y

    with caplog.at_level(logging.ERROR, "obs_core"):
        assert call(Broken(), 1) == 1
        assert other(2) == 2
    assert [dict(span.attributes or {}).get("obs.args.x") for span in spans] == [
        1,
        None,
    ]
    assert [record.getMessage().split(" failed")[0] for record in caplog.records] == [
        "serializing the argument 'broken'",
        "serializing the argument 'y'",
    ]


@pytest.mark.promise("CORE-44")
def test_a_serializer_decides(spans: SpanRecorder) -> None:
    """`serialize` makes the value; names on the deny list never reach it."""

    @trace_function(capture_args=("x", "token"), serialize=lambda value: f"<{value}>")
    def call(x: int, token: str) -> None: ...

    call(1, "t")
    assert captured(spans) == {"x": "<1>", "token": "[REDACTED]"}


@pytest.mark.promise("CORE-44")
def test_a_call_that_does_not_fit_raises_its_own_error(spans: SpanRecorder) -> None:
    """Wrong arguments are the caller's TypeError, not ours."""

    @trace_function(capture_args=("x",))
    def call(x: int) -> None: ...

    with pytest.raises(
        TypeError, match=r"call\(\) missing 1 required positional argument: 'x'"
    ):
        call()  # type: ignore[call-arg]
    assert captured(spans) == {}


@pytest.mark.promise("CORE-44")
@given(value=st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters()), st.binary()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
))  # fmt: skip
def test_any_value_can_be_exported(value: object) -> None:
    """Whatever is captured, OTLP can encode it."""
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

    told = attribute_value(value)
    for item in told if isinstance(told, list) else [told]:
        if isinstance(item, str):
            AnyValue(string_value=item)
            assert len(item.encode()) <= 1024
        elif isinstance(item, int) and not isinstance(item, bool):
            AnyValue(int_value=item)
