"""Contain span processors of the user: log their exceptions, and leave a hanging call behind."""

from __future__ import annotations

from functools import partial

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from obs_core._provider.background import Aside, Job, outcome
from obs_core._safety.containment import log_failure


class FencedProcessor(SpanProcessor):
    """Calls `inner` exactly as the SDK does, never raises, and bounds its flush and shutdown by `timeout_s` (or as asked).

    `inner` may be anything with a span processor's methods: a subclass, a proxy, a mock.
    """

    def __init__(self, inner: SpanProcessor, timeout_s: float) -> None:
        self._inner = inner
        self._timeout_s = timeout_s
        self._name = type(inner).__name__
        self._aside = Aside(f"obs-core-{self._name}")
        self._may_hang = _may_hang(inner)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Forward, contained."""
        if self._may_hang:
            self._aside.be_ready()
        try:
            self._inner.on_start(span, parent_context=parent_context)
        except Exception:  # noqa: BLE001 - a user's processor may raise anything
            log_failure(f"{self._name}.on_start")

    def _on_ending(self, span: Span) -> None:
        try:
            # private to the SDK: who implements the specification alone has none
            on_ending = getattr(self._inner, "_on_ending", None)
            if on_ending is not None:
                on_ending(span)
        except Exception:  # noqa: BLE001 - a user's processor may raise anything
            log_failure(f"{self._name}._on_ending")

    def on_end(self, span: ReadableSpan) -> None:
        """Forward, contained."""
        try:
            self._inner.on_end(span)
        except Exception:  # noqa: BLE001 - a user's processor may raise anything
            log_failure(f"{self._name}.on_end")

    def shutdown(self) -> None:
        """Shut down within `timeout_s`."""
        outcome(self.begin_shutdown(), self._timeout_s)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush within `timeout_millis`; False if not finished by then."""
        return outcome(self.begin_flush(timeout_millis), timeout_millis / 1000)

    def begin_shutdown(self) -> Job:
        """Shut down, aside."""
        return self._aside.begin(partial(self._end, "shutdown"), is_last=True)

    def begin_flush(self, timeout_millis: int) -> Job:
        """Flush, aside."""
        return self._aside.begin(partial(self._end, "force_flush", timeout_millis))

    def _end(self, method: str, *arguments: int) -> bool:
        try:
            return getattr(self._inner, method)(*arguments) is not False
        except Exception:  # noqa: BLE001 - a user's processor may raise anything
            log_failure(f"{self._name}.{method}")
            return False


def _may_hang(processor: SpanProcessor) -> bool:
    """Whether `processor` has its own shutdown or flush; a processor that only sets attributes needs no thread."""
    return any(
        not _is_inherited(processor, name) for name in ("shutdown", "force_flush")
    )


def _is_inherited(processor: SpanProcessor, name: str) -> bool:
    """Whether a method is that of the SDK's base class, which does nothing."""
    try:
        method = getattr(processor, name)
        return getattr(method, "__func__", None) is getattr(SpanProcessor, name)
    except Exception:  # noqa: BLE001 - a proxy may raise anything
        return False
