"""Decide whether a call of an instrumented library gets a span: suppression, roots, the sampled parent."""

from __future__ import annotations

from typing import Literal

from opentelemetry import trace
from opentelemetry.context import (
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,
    _SUPPRESS_INSTRUMENTATION_KEY,
    Context,
    set_value,
)
from opentelemetry.trace import TracerProvider

from obs_core._integrations.caller import is_called_by_queue
from obs_core._integrations.worker_process import is_worker_process
from obs_core._spans import tracer as answers
from obs_core._spans.current import ids_of
from obs_core._spans.runtime_context import get_current
from obs_core._spans.tracer import SPAN_KEY, keeps_unsampled

#: Spans without a parent: recorded, left out, or (``"auto"``) left out in worker processes.
Roots = bool | Literal["auto"]

# opentelemetry-instrumentation's suppress_instrumentation() sets both
_SUPPRESSED = (_SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation")
_SUPPRESSING = frozenset((*_SUPPRESSED, _SUPPRESS_HTTP_INSTRUMENTATION_KEY))


def is_suppressed(context: Context | None = None, *, http: bool = False) -> bool:
    """Whether ``suppress_instrumentation()`` is in force in `context`.

    Args:
        context: Default: the current context.
        http: Whether ``suppress_http_instrumentation()`` counts too: true for HTTP clients.
    """
    found = get_current() if context is None else context
    if _SUPPRESSING.isdisjoint(found):
        return False
    if found.get(_SUPPRESSED[0]) or found.get(_SUPPRESSED[1]):
        return True
    return http and bool(found.get(_SUPPRESS_HTTP_INSTRUMENTATION_KEY))


def suppress_http(context: Context | None = None) -> Context:
    """Return `context` (default: the current context) with instrumentations of HTTP clients suppressed.

    For the calls of a traced client to the HTTP library below.
    """
    return set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True, context)


def suppress_all(context: Context | None = None) -> Context:
    """Return `context` (default: the current context) with all instrumentations suppressed.

    For a library's own recurring work, which is no part of a request.
    """
    found = get_current() if context is None else context
    for key in _SUPPRESSED:
        found = set_value(key, True, found)
    return found


class SpanPolicy:
    """Decides for each call whether a span is wanted. Thread-safe and fork-safe.

    Args:
        provider: The provider of the spans. Default: the global provider.
        roots: Whether calls outside any trace get a span.
        http: Whether ``suppress_http_instrumentation()`` counts too.
        library: The top-level packages of the client and of its integration: what Celery itself asks with them, of its
            broker and result backend, gets no span in any process.
        include_broker: Whether what Celery asks below a span gets one; outside any span it never does.
    """

    __slots__ = (
        "_asked",
        "_epoch",
        "_http",
        "_include_broker",
        "_keeps",
        "_library",
        "_provider",
        "_roots",
    )

    def __init__(
        self,
        provider: TracerProvider | None = None,
        *,
        roots: Roots = True,
        http: bool = False,
        library: frozenset[str] = frozenset(),
        include_broker: bool = False,
    ) -> None:
        self._provider = provider
        self._roots = roots
        self._http = http
        self._library = library
        self._include_broker = include_broker
        self._asked: object = None
        self._epoch: object = None
        self._keeps = False

    def wants_span(self, context: Context | None = None) -> bool:
        """Whether a call made in `context` (default: the current context) gets a span.

        False where instrumentation is suppressed, where the call would be an unwanted root, below an unsampled parent unless
        the sampler may decide otherwise and has to be asked, and for a task queue's own call.
        """
        found = get_current() if context is None else context
        if is_suppressed(found, http=self._http):
            return False
        parent = ids_of(found.get(SPAN_KEY))
        if parent is None:
            return self.wants_root()
        if not parent[3] & 1 and self.follows_parent:
            return False
        return self._include_broker or not is_called_by_queue(self._library)

    def wants_root(self) -> bool:
        """Whether a call made here, outside any trace, gets a span."""
        if self._roots is False or (self._roots == "auto" and is_worker_process()):
            return False
        return not is_called_by_queue(self._library)

    def wants_child(self) -> bool:
        """Whether a call made here, below a recorded span, gets one: Celery's own calls do if they are included."""
        return self._include_broker or not is_called_by_queue(self._library)

    @property
    def follows_parent(self) -> bool:
        """Whether the sampler records no span below an unsampled parent."""
        # the public getter costs as much as the rest of an unsampled call
        provider = self._provider or trace._TRACER_PROVIDER
        if provider is None:
            provider = trace.get_tracer_provider()
        if provider is not self._asked or self._epoch is not answers.epoch:
            self._epoch = answers.epoch
            self._keeps = keeps_unsampled(getattr(provider, "sampler", None))
            self._asked = provider
        return self._keeps
