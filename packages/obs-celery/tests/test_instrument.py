"""Once, and exactly back again."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

import pytest
from celery import Celery, chain, signals
from celery.beat import Scheduler, Service
from celery.canvas import Signature
from obs_celery import CeleryInstrumentor, instrument_celery, uninstrument_celery
from obs_core.exceptions import ConfigurationError
from obs_core.integration import is_worker_process
from obs_core.testing import SpanRecorder
from opentelemetry import trace

SIGNALS = [
    signal for signal in vars(signals).values() if isinstance(signal, signals.Signal)
]


def footprint() -> object:
    """Everything of Celery that instrumenting may touch."""
    canvas = [Signature.TYPES[name].apply for name in ("chain", "group", "chord")]
    return Celery.send_task, canvas, [list(signal.receivers) for signal in SIGNALS]


def eager(name: str) -> Celery:
    """An app with one task that executes eagerly."""
    app = Celery(name, broker="memory://", set_as_current=False)

    @app.task(shared=False, name=name)
    def work() -> None:
        pass

    return app


@pytest.mark.promise("CEL-41")
def test_twice_is_once_and_back_is_back(spans: SpanRecorder) -> None:
    """One span a task; afterwards Celery is what it was."""
    before = footprint()
    app = eager("once")
    first, second = instrument_celery(app), instrument_celery(app)
    assert first is second
    app.tasks["once"].apply()
    assert len(spans.named("process once")) == 1
    uninstrument_celery(app)
    uninstrument_celery(app)
    assert footprint() == before
    app.tasks["once"].apply()
    assert len(spans.finished) == 1


def passes_on(original: Callable[..., object]) -> Callable[..., object]:
    """What another library puts around a method."""

    @functools.wraps(original)
    def passing(*args: object, **kwargs: object) -> object:
        return original(*args, **kwargs)

    return passing


@pytest.mark.promise("CEL-41")
@pytest.mark.parametrize(
    ("owner", "name"), [(Celery, "send_task"), (Signature.TYPES["chain"], "apply")]
)
def test_what_others_have_put_around_ours_stays(
    monkeypatch: pytest.MonkeyPatch, spans: SpanRecorder, owner: type, name: str
) -> None:
    """Theirs is what is there in the end, and calls on without a span."""
    monkeypatch.setattr(owner, name, getattr(owner, name))  # put back by the fixture
    app = eager("wrapped")
    handle = instrument_celery(app)
    theirs = passes_on(getattr(owner, name))
    setattr(owner, name, theirs)
    handle.uninstrument()
    assert getattr(owner, name) is theirs
    app.send_task("wrapped")
    chain(app.tasks["wrapped"].si(), app=app).apply()
    assert spans.finished == []


@pytest.mark.promise("CEL-41")
def test_a_scheduler_gets_back_what_it_had() -> None:
    """Also where somebody had given it an `apply_async` of its own."""
    handle = instrument_celery()
    service = Service(Celery("beat", set_as_current=False), scheduler_cls=Scheduler)
    own = service.scheduler.apply_async = passes_on(service.scheduler.apply_async)
    signals.beat_init.send(sender=service)
    assert service.scheduler.apply_async is not own
    handle.uninstrument()
    assert service.scheduler.apply_async is own


@pytest.mark.promise("CEL-41")
def test_two_apps_can_differ(spans: SpanRecorder) -> None:
    """One hides its task, one shows it, a third is not instrumented at all."""
    shown, hidden, left_alone = eager("shown"), eager("hidden"), eager("left_alone")
    handles = [instrument_celery(shown), instrument_celery(hidden, exclude=["hidden"])]
    for app in (shown, hidden, left_alone):
        app.tasks[app.main].apply()
        app.send_task(app.main)
    assert sorted(span.name for span in spans.finished) == [
        "process shown",
        "publish shown",
    ]
    handles[0].uninstrument()
    shown.tasks["shown"].apply()
    assert len(spans.finished) == 2
    handles[1].uninstrument()


@pytest.mark.promise("CEL-41")
def test_uninstrumenting_ends_live_spans_and_leaves_no_context(
    spans: SpanRecorder,
) -> None:
    """A task that is running meanwhile: its span ends now, its thread's context is restored when it is done."""
    before = footprint()
    started, go_on = threading.Event(), threading.Event()
    app = Celery("live", broker="memory://", set_as_current=False)
    after: list[trace.Span] = []

    @app.task(shared=False, name="live")
    def live() -> None:
        started.set()
        assert go_on.wait(30)

    def run() -> None:
        live.apply()
        after.append(trace.get_current_span())

    handle = instrument_celery(app)
    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(30)
    handle.uninstrument()
    assert [span.name for span in spans.finished] == ["process live"]
    go_on.set()
    thread.join(30)
    assert after == [trace.INVALID_SPAN]
    assert len(spans.finished) == 1
    assert footprint() == before


def test_the_process_is_marked_while_it_is_a_worker() -> None:
    """By Celery's own signals, and unmarked afterwards."""
    handle = instrument_celery()
    assert not is_worker_process()
    signals.celeryd_init.send(sender="w@h")
    signals.worker_init.send(sender=None)
    assert is_worker_process()
    handle.uninstrument()
    assert not is_worker_process()


@pytest.mark.promise("CEL-49")
def test_the_process_is_marked_while_it_is_a_beat() -> None:
    """A schedule kept in Redis or a database is looked at all the time, and in nobody's trace."""
    handle = instrument_celery()
    service = Service(Celery("beat", set_as_current=False), scheduler_cls=Scheduler)
    signals.beat_init.send(sender=service)
    assert is_worker_process()
    handle.uninstrument()
    assert not is_worker_process()


@pytest.mark.parametrize(
    "options",
    [
        {"relation": "child"},
        {"task_relations": {"x": "y"}},
        {"link_after_s": -1},
        {"exclude": "name"},
        {"error_states": ["FAILURE"]},
        {"capture_args": [1]},
        {"max_value_bytes": 0},
        {"flush_timeout_s": "2"},
        {"on_start": 1},
    ],
)
def test_wrong_options_raise_at_set_up(options: dict[str, object]) -> None:
    """With the option's name, its value and the fix."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        instrument_celery(**options)  # type: ignore[arg-type]


def test_the_otel_entry_point() -> None:
    """``opentelemetry-instrument`` finds a class with the usual two methods."""
    from importlib.metadata import entry_points

    (found,) = (
        e
        for e in entry_points(group="opentelemetry_instrumentor")
        if e.dist and e.dist.name == "obs-celery"
    )
    assert found.load() is CeleryInstrumentor
    before = footprint()
    CeleryInstrumentor().instrument(skip_dep_check=True)
    assert footprint() != before
    CeleryInstrumentor().uninstrument()
    assert footprint() == before
