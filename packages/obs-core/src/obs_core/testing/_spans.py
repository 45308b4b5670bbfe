"""Record this process's spans in memory, and put everything back afterwards."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

from obs_core._config.environment import spans
from obs_core._config.keep import Keep
from obs_core._correlation.processor import CorrelationSpanProcessor
from obs_core._export.keeper import Keeper
from obs_core._provider.provider import SwitchableProvider
from obs_core._provider.resource import ProcessResource
from obs_core._setup.manager import current_manager, set_current_manager
from obs_core._spans.kept import keeping
from obs_core.testing._expected import compare, span_ids
from obs_core.testing._tree import render_tree


@dataclass(frozen=True, slots=True)
class _View:
    """A `ReadableSpan` in the form of the tree."""

    span: ReadableSpan

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def kind(self) -> str:
        return self.span.kind.name

    @property
    def status(self) -> str:
        return self.span.status.status_code.name

    @property
    def trace_id(self) -> int:
        return int(self.span.context.trace_id)

    @property
    def span_id(self) -> int:
        return int(self.span.context.span_id)

    @property
    def parent_id(self) -> int:
        return self.span.parent.span_id if self.span.parent else 0

    @property
    def start_time(self) -> int:
        return self.span.start_time or 0

    @property
    def attributes(self) -> Mapping[str, Any]:
        return self.span.attributes or {}


class SpanRecorder:
    """The finished spans of a test, in the order of their ends. Thread-safe."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    @property
    def finished(self) -> list[ReadableSpan]:
        """All finished spans."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """The finished spans of that name."""
        return [span for span in self.finished if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """Return the only finished span of that name.

        Raises:
            AssertionError: No span or several; the message is the tree of all spans.
        """
        found = self.named(name)
        if len(found) != 1:
            raise AssertionError(
                f"{len(found)} spans are named {name!r}, not 1, in:\n{self.tree() or '(no spans)'}"
            )
        return found[0]

    def tree(self, *, attributes: Iterable[str] = ()) -> str:
        """Return the finished spans as a tree: see `render_tree`."""
        return render_tree(
            (_View(span) for span in self.finished), attributes=attributes
        )

    def assert_tree(self, expected: str, *, attributes: Iterable[str] = ()) -> None:
        """Compare the tree with `expected` (common indentation and outer blank lines are ignored).

        Raises:
            AssertionError: The trees differ; the message is a line-by-line diff.
        """
        from difflib import ndiff

        wanted, actual = dedent(expected).strip(), self.tree(attributes=attributes)
        if wanted != actual:
            raise AssertionError(
                "the spans differ:\n"
                + "\n".join(ndiff(wanted.splitlines(), actual.splitlines()))
            )

    def assert_span(
        self,
        name: str,
        *,
        kind: str = "INTERNAL",
        status: str = "UNSET",
        parent: str | int | None = None,
        links: Collection[ReadableSpan | int] = (),
        events: Collection[str] = (),
        attributes: Mapping[str, Any],
    ) -> ReadableSpan:
        """Compare the only span of that name, as a whole, with what is expected; return the span.

        Args:
            name: The span's name.
            kind: ``"CLIENT"``, ``"PRODUCER"``, … Default ``"INTERNAL"``.
            status: The status code, with the description if any: ``"ERROR: timeout"``. Default ``"UNSET"``.
            parent: The parent's name; its span id if the parent is not recorded here; None for a root (default).
            links: The linked spans, or their span ids. Default: none.
            events: The names of the events. Default: none.
            attributes: All attributes; the value ``...`` stands for any value.

        Raises:
            AssertionError: No span, several, or another one; the message is a line-by-line difference.
        """
        span = self.one(name)
        expected = {
            "kind": kind,
            "status": status,
            "parent": parent,
            "links": span_ids(links),
            "events": list(events),
        }
        compare(span, self.finished, expected, attributes)
        return span

    def clear(self) -> None:
        """Forget the finished spans."""
        self._exporter.clear()

    def __len__(self) -> int:
        return len(self.finished)

    def __iter__(self) -> Iterator[ReadableSpan]:
        return iter(self.finished)


# Tracers that were made early resolve once and for all, so all recordings of a process share one provider.
_shared: list[SwitchableProvider] = []


@dataclass(frozen=True, slots=True)
class _KeptInMemory:
    """Takes the spans of kept requests."""

    exporter: InMemorySpanExporter

    def put_kept(self, span: ReadableSpan) -> None:
        self.exporter.export([span])

    def drop_unsampled(self) -> None:
        pass

    def has_room(self) -> bool:
        return True


@contextmanager
def record_spans(
    *, sampling_rate: float = 1.0, keep: Keep | None = None
) -> Iterator[SpanRecorder]:
    """Record every span that ends inside the block, whatever provider was set before, and restore that provider.

    A set-up made inside the block is undone at the end. Blocks may be nested: the innermost records. The spans are light, or
    the SDK's with ``OBS_CORE_SPANS=sdk``.

    Args:
        sampling_rate: Share of new traces to record, 0 … 1.
        keep: Record unsampled requests too that are kept. Default None: off.
    """
    if not _shared:
        _shared.append(SwitchableProvider(ProcessResource({"service.name": "test"})))
    shared, exporter = _shared[0], InMemorySpanExporter()
    outer = shared.sampler.inner, shared.pipeline.processors
    outer_keeper, was_on = shared.provider.spans.keeper, keeping.is_on
    shared.sample(sampling_rate)
    keepers = () if keep is None else (Keeper(keep, _KeptInMemory(exporter)),)
    shared.keep(keepers[0] if keepers else None)
    shared.make_spans(spans(os.environ.get("OBS_CORE_SPANS", "light")))
    shared.pipeline.processors = (
        CorrelationSpanProcessor(),
        SimpleSpanProcessor(exporter),
        *keepers,
    )
    before, once, manager = (
        trace._TRACER_PROVIDER,
        trace._TRACER_PROVIDER_SET_ONCE,
        current_manager(),
    )
    _set_global(shared.provider, _done())
    try:
        yield SpanRecorder(exporter)
    finally:
        if (made := current_manager()) is not manager and made:
            made.shutdown(0)
            set_current_manager(manager)
        shared.sampler.inner, shared.pipeline.processors = outer
        shared.keep(outer_keeper)
        keeping.is_on = was_on
        _set_global(before, once)


def _done() -> Once:
    once = Once()
    once.do_once(lambda: None)
    return once


def _set_global(provider: trace.TracerProvider | None, once: Once) -> None:
    # OpenTelemetry has no public way to take a provider back: https://github.com/open-telemetry/opentelemetry-python/issues/3713
    trace._TRACER_PROVIDER = provider
    trace._TRACER_PROVIDER_SET_ONCE = once
