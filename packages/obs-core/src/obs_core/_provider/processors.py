"""The span processors of a set-up, shut down within a common deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

from opentelemetry.context import Context
from opentelemetry.sdk.trace import (
    ReadableSpan,
    Span,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
)

from obs_core._export.processor import BatchExportProcessor
from obs_core._provider.background import outcome
from obs_core._provider.contained import FencedProcessor


class Pipeline(SynchronousMultiSpanProcessor):
    """The span processors in force: our own, and those of the user behind a `FencedProcessor`.

    The tuple is replaced as a whole: reading takes no lock.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # untyped in the SDK
        self.processors = ()
        self.exit_timeout_s: float = 2.0

    @property
    def processors(self) -> tuple[SpanProcessor, ...]:
        """The processors in force."""
        return self._processors

    @processors.setter
    def processors(self, processors: tuple[SpanProcessor, ...]) -> None:
        self._processors = processors
        # on the instance: a span calls what is in force, with no step between
        vars(self).update(
            on_start=_on_start(_methods("on_start", processors)),
            _on_ending=_on_end(_methods("_on_ending", processors)),
            on_end=_on_end(_methods("on_end", processors)),
        )

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Append a processor, fenced."""
        with self._lock:
            self.processors += (FencedProcessor(span_processor, self.exit_timeout_s),)

    def shutdown(self, timeout_s: float | None = None) -> None:
        """Shut down and remove all processors, within `timeout_s` in all (default `exit_timeout_s`)."""
        timeout_s = self.exit_timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + timeout_s
        begun = [fenced.begin_shutdown() for fenced in self._fenced()]
        for exporting in self._exporting():
            exporting.shutdown(timeout_s)
        for end in begun:
            outcome(end, deadline - time.monotonic())
        self.processors = ()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush all processors, within `timeout_millis` in all; True if all succeeded."""
        deadline = time.monotonic() + timeout_millis / 1000
        begun = [fenced.begin_flush(timeout_millis) for fenced in self._fenced()]
        answers = [
            exporting.force_flush(timeout_millis) for exporting in self._exporting()
        ]
        answers += [outcome(flush, deadline - time.monotonic()) for flush in begun]
        return all(answers)

    def _fenced(self) -> list[FencedProcessor]:
        return [
            processor
            for processor in self.processors
            if isinstance(processor, FencedProcessor)
        ]

    def _exporting(self) -> list[BatchExportProcessor]:
        return [
            processor
            for processor in self.processors
            if isinstance(processor, BatchExportProcessor)
        ]


def _methods(
    hook: str, processors: tuple[SpanProcessor, ...]
) -> tuple[Callable[..., None], ...]:
    """Return `hook` of the processors whose class defines `hook`; the SDK's hook does nothing."""
    idle = getattr(SpanProcessor, hook, None)
    return tuple(
        getattr(processor, hook)
        for processor in processors
        if getattr(type(processor), hook, idle) is not idle
    )


def _on_start(methods: tuple[Callable[..., None], ...]) -> Callable[..., None]:
    def on_start(span: Span, parent_context: Context | None = None) -> None:
        for method in methods:
            method(span, parent_context)

    return methods[0] if len(methods) == 1 else on_start


def _on_end(methods: tuple[Callable[..., None], ...]) -> Callable[..., None]:
    def on_end(span: ReadableSpan) -> None:
        for method in methods:
            method(span)

    return methods[0] if len(methods) == 1 else on_end
