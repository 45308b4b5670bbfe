"""Which calls get a span: suppressed, roots, below an unsampled parent."""

from __future__ import annotations

import sys
from functools import partial
from types import ModuleType

import pytest
from obs_core.integration import SpanPolicy, is_suppressed, suppress_all, suppress_http
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context, set_value
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

ROOT = Context()


def below(*, sampled: bool) -> Context:
    parent = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(int(sampled)))
    return trace.set_span_in_context(NonRecordingSpan(parent), ROOT)


def provider(sampler: Sampler) -> TracerProvider:
    return TracerProvider(sampler=sampler, shutdown_on_exit=False)


@pytest.mark.parametrize(
    "key",
    [_SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation"],
    ids=["api", "contrib"],
)
@pytest.mark.parametrize("context", [ROOT, below(sampled=True)], ids=["root", "child"])
def test_nothing_where_instrumentation_is_suppressed(
    key: str, context: Context
) -> None:
    """Under both keys that contrib's suppress_instrumentation() sets."""
    context = set_value(key, True, context)
    assert is_suppressed(context)
    assert not SpanPolicy().wants_span(context)


def test_suppressed_http_is_for_http_clients_alone() -> None:
    """An SDK above HTTP, which is traced itself, silences the requests below it."""
    context = suppress_http(ROOT)
    assert SpanPolicy().wants_span(context)
    assert not SpanPolicy(http=True).wants_span(context)


@pytest.mark.parametrize(
    ("roots", "here", "in_worker"), [(True, 1, 1), (False, 0, 0), ("auto", 1, 0)]
)
def test_roots(
    monkeypatch: pytest.MonkeyPatch, roots, here: int, in_worker: int
) -> None:
    """Recorded, left out, or left out where a worker's own traffic would make traces without end."""
    policy = SpanPolicy(roots=roots)
    assert policy.wants_span(ROOT) == bool(here)
    monkeypatch.setattr("obs_core._integrations.policy.is_worker_process", lambda: True)
    assert policy.wants_span(ROOT) == bool(in_worker)
    assert policy.wants_span(below(sampled=True))


@pytest.mark.promise("CORE-04")
def test_an_unsampled_parent_decides_where_the_sampler_always_keeps_its_decision() -> (
    None
):
    """A sampler of another kind is asked."""
    policy = SpanPolicy(provider(ParentBased(ALWAYS_ON)))
    assert (
        policy.wants_span(below(sampled=True)),
        policy.wants_span(below(sampled=False)),
    ) == (
        True,
        False,
    )
    assert SpanPolicy(provider(ALWAYS_ON)).wants_span(below(sampled=False))


def test_a_context_in_which_nothing_is_recorded() -> None:
    """As inside ``suppress_instrumentation()``; what else the context holds stays."""
    context = suppress_all(below(sampled=True))
    assert is_suppressed(context)
    assert trace.get_current_span(context).get_span_context().trace_id == 1


@pytest.mark.promise("CEL-49")
@pytest.mark.parametrize(
    ("callers", "is_queue"),
    [
        (["kombu.transport.redis", "redis.client"], True),
        (["celery.backends.redis", "contextlib", "redis.client"], True),
        (["shop.tasks", "redis.client"], False),
        (["kombu.connection", "shop.hooks", "redis.client"], False),
        (["obs_shop.tasks", "redis.client"], False),
    ],
)
def test_what_a_task_queue_asks_itself_has_no_span(
    monkeypatch: pytest.MonkeyPatch, callers: list[str], is_queue: bool
) -> None:
    """Told by the nearest caller outside the client library; outside any trace also where the broker is included."""
    monkeypatch.setitem(sys.modules, "kombu", ModuleType("kombu"))
    library = frozenset({"redis"})
    for roots, include_broker in ((True, False), ("auto", False), (True, True)):
        policy = SpanPolicy(roots=roots, library=library, include_broker=include_broker)
        asked = [
            _called_by(callers, partial(policy.wants_span, context))()
            for context in (ROOT, below(sampled=True))
        ]
        assert asked == [not is_queue, include_broker or not is_queue]


def _called_by(modules: list[str], call):
    """Return `call` as made by a function of the last module, which a function of the one before calls, and so on."""
    for module in reversed(modules):
        scope = {"__name__": module, "call": call}
        exec("def caller(): return call()", scope)
        call = scope["caller"]
    return call
