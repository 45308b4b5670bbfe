"""Span processors that are not ours are called as the SDK calls them, whatever they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest
from obs_core._provider.processors import Pipeline
from opentelemetry.sdk.trace import (
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)

pytestmark = pytest.mark.promise("CORE-35")
Call = tuple[str, tuple[str, ...], tuple[str, ...]]


class Recorder:
    """Notes each call of any method: its name, the types of its arguments, the names of its keywords."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __getattr__(self, name: str) -> Callable[..., bool]:
        def note(*arguments: object, **keywords: object) -> bool:
            kinds = tuple(type(argument).__name__ for argument in arguments)
            self.calls.append((name, kinds, tuple(keywords)))
            return True

        return note


class Proxy:
    """Forwards what it is asked for, and is no SpanProcessor."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recorder, name)


class Subclass(SynchronousMultiSpanProcessor):
    """Leaves out the initialisation of its base class."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def on_start(self, span, *, parent_context=None):
        self._recorder.on_start(span, parent_context=parent_context)

    def _on_ending(self, span):
        self._recorder._on_ending(span)

    def on_end(self, span):
        self._recorder.on_end(span)

    def shutdown(self):
        self._recorder.shutdown()

    def force_flush(self, timeout_millis=30000):
        return self._recorder.force_flush(timeout_millis)


def mock(
    recorder: Recorder, make: Callable[..., Mock] = Mock, **options: object
) -> Mock:
    made = make(**options)
    for name in ("on_start", "_on_ending", "on_end", "shutdown", "force_flush"):
        if hasattr(made, name):
            getattr(made, name).side_effect = getattr(recorder, name)
    return made


def with_own_methods(recorder: Recorder) -> SpanProcessor:
    made = SpanProcessor()
    for name in ("on_start", "_on_ending", "on_end", "shutdown", "force_flush"):
        setattr(made, name, getattr(recorder, name))
    return made


KINDS: dict[str, Callable[[Recorder], Any]] = {
    "subclass": Subclass,
    "proxy": Proxy,
    "mock": mock,
    "mock of the interface": lambda recorder: mock(
        recorder, MagicMock, spec=SpanProcessor
    ),
    "methods of the instance": with_own_methods,
}


def calls(processor_of: Callable[[Recorder], Any], joined: Any) -> list[Call]:
    """What a processor is called with in the life of a span and its provider."""
    recorder = Recorder()
    provider = TracerProvider(active_span_processor=joined, shutdown_on_exit=False)
    provider.add_span_processor(processor_of(recorder))
    provider.get_tracer("test").start_span("span").end()
    assert provider.force_flush(5000)
    provider.shutdown()
    return recorder.calls


@pytest.mark.parametrize("kind", KINDS)
def test_a_processor_is_called_as_the_sdk_calls_it(kind: str) -> None:
    """Each method, in the same order, with the same positions and keywords."""
    by_the_sdk = calls(KINDS[kind], SynchronousMultiSpanProcessor())
    assert [name for name, _, _ in by_the_sdk if name != "_on_ending"] == [
        *("on_start", "on_end", "force_flush", "shutdown")
    ]
    assert calls(KINDS[kind], Pipeline()) == by_the_sdk


class Bare:
    """Has the methods that the specification names, and no other attribute."""

    def __init__(self, recorder: Recorder) -> None:
        self.on_start, self.on_end = recorder.on_start, recorder.on_end
        self.shutdown, self.force_flush = recorder.shutdown, recorder.force_flush


def test_a_method_that_is_missing_is_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`_on_ending` is private to the SDK, which fails there from its first version that has it."""
    called = [name for name, _, _ in calls(Bare, Pipeline())]
    assert called == ["on_start", "on_end", "force_flush", "shutdown"]
    assert caplog.text == ""


class Unready:
    """A lazy proxy that has nothing to forward to yet."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"{name}: not ready")


def test_a_processor_that_cannot_even_be_looked_at_costs_nobody_anything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither the set-up nor a span."""
    provider = TracerProvider(active_span_processor=Pipeline(), shutdown_on_exit=False)
    provider.add_span_processor(Unready())  # type: ignore[arg-type]
    provider.get_tracer("test").start_span("span").end()
    provider.shutdown()
    assert "Unready.on_start failed" in caplog.text


def test_set_up_takes_any_kind(run, otlp_sink) -> None:
    """Given to `setup_tracing`, and found on a provider that was there before."""
    done = run(
        f"""
        from unittest.mock import Mock
        from opentelemetry.sdk.trace import TracerProvider
        class Proxy:
            def __init__(self, inner): self.inner = inner
            def __getattr__(self, name): return getattr(self.inner, name)
        class Unready:
            def __getattr__(self, name):
                if name.startswith("_") and name != "_on_ending": raise RuntimeError("not ready")
                return lambda *args, **kwargs: None
        provider = TracerProvider()
        for found in (Unready(), Mock(), Proxy(Mock())):
            provider.add_span_processor(found)
        trace.set_tracer_provider(provider)
        given = Mock(), Proxy(Mock())
        config = TracingConfig(service_name="s", collector_url="{otlp_sink.url}")
        manager, _ = setup_tracing(config, span_processors=given)
        spans(1)
        assert manager.flush(20)
        print([mock.on_end.call_count for mock in given])
        """
    )
    assert (done.stdout, done.stderr) == ("[1, 1]", "")
    assert [span.name for span in otlp_sink.wait_for(1)] == ["span"]
