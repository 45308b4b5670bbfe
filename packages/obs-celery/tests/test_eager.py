"""Eager execution: in the caller's process and trace."""

from __future__ import annotations

import pytest
from celery import Celery, Task, chain, chord, group
from celery.exceptions import Retry
from obs_celery import instrument_celery, uninstrument_celery
from obs_celery_worker import root
from obs_core.testing import SpanRecorder
from opentelemetry import trace


@pytest.fixture
def app(traced: SpanRecorder) -> Celery:
    """An app that executes eagerly."""
    app = Celery(
        "eager", broker="memory://", backend="cache+memory://", set_as_current=False
    )
    app.conf.task_always_eager = True
    app.conf.task_eager_propagates = False

    @app.task(shared=False, name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(shared=False, name="total")
    def total(values: list[int]) -> int:
        return sum(values)

    @app.task(shared=False, name="fails", throws=(KeyError,))
    def fails(expected: bool = False) -> None:
        raise KeyError("fine") if expected else ValueError("boom")

    @app.task(shared=False, name="retries", bind=True)
    def retries(self: Task, times: int = 1) -> int:
        if self.request.retries < times:
            raise self.retry(countdown=0)
        return self.request.retries

    @app.task(shared=False, name="value")
    def value() -> Exception:
        return ValueError("only a value")

    @app.task(shared=False, name="secret")
    def secret(
        order_id: int, password: str = "hunter2", *, note: str = "n", **extra: object
    ) -> None:
        pass

    return app


@pytest.mark.promise("CEL-15")
@pytest.mark.parametrize("through", ["apply", "delay"])
def test_the_same_shape(app: Celery, spans: SpanRecorder, through: str) -> None:
    """`apply()` and `task_always_eager`: an execution like any other, below the caller."""
    with root():
        result = getattr(app.tasks["add"], through)(
            *([(1, 2)] if through == "apply" else [1, 2])
        )
    spans.assert_tree(
        """
        root [INTERNAL]
          process add [CONSUMER] celery.state='SUCCESS' celery.eager=True
        """,
        attributes=["celery.state", "celery.eager"],
    )
    assert result.get() == 3


@pytest.mark.promise("CEL-15")
def test_a_failure_that_propagates(app: Celery, spans: SpanRecorder) -> None:
    """`throw=True`: ``task_failure`` does not fire, the span is ERROR with its exception all the same."""
    with root(), pytest.raises(ValueError, match="boom"):
        app.tasks["fails"].apply(throw=True)
    span = spans.one("process fails")
    assert (span.status.status_code, span.status.description) == (
        trace.StatusCode.ERROR,
        "boom",
    )
    assert [
        dict(event.attributes or {})["exception.type"] for event in span.events
    ] == ["ValueError"]
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.mark.promise("CEL-11", "CEL-15")
def test_expected_exceptions_and_returned_ones_are_no_failures(
    app: Celery, spans: SpanRecorder
) -> None:
    """`throws` with and without propagation, a returned exception, and a task called while another error is handled."""
    app.tasks["fails"].apply((True,))
    with pytest.raises(KeyError):
        app.tasks["fails"].apply((True,), throw=True)
    try:
        raise OSError("being handled")
    except OSError:
        app.tasks["value"].apply()
    assert [
        (s.status.status_code.name, (s.attributes or {})["celery.state"])
        for s in spans.finished
    ] == [
        ("UNSET", "FAILURE"),
        ("UNSET", "FAILURE"),
        ("UNSET", "SUCCESS"),
    ]


@pytest.mark.promise("CEL-12", "CEL-15")
def test_eager_retries_are_siblings(app: Celery, spans: SpanRecorder) -> None:
    """And a retry that propagates is no error."""
    with root():
        assert app.tasks["retries"].apply((2,)).get() == 2
        with pytest.raises(Retry):
            app.tasks["retries"].apply((2,), throw=True)
    states = [(s.attributes or {}).get("celery.state") for s in spans.finished]
    assert states == ["RETRY", "RETRY", "SUCCESS", "RETRY", None]
    assert len({s.parent.span_id for s in spans.finished if s.parent}) == 1
    assert {s.status.status_code.name for s in spans.finished} == {"UNSET"}
    assert [len(s.links) for s in spans.finished] == [0, 1, 1, 0, 0]


@pytest.mark.promise("CEL-15")
@pytest.mark.parametrize("under_a_span", [True, False])
def test_eager_canvas_is_one_trace(
    app: Celery, spans: SpanRecorder, under_a_span: bool
) -> None:
    """Chain, group and chord, with or without a span around them."""
    add, total = app.tasks["add"], app.tasks["total"]
    for canvas in (
        chain(add.s(1, 2), add.s(3)),
        group(add.s(1, 2), add.s(3, 4)),
        chord([add.s(1, 2), add.s(3, 4)], total.s()),
    ):
        spans.clear()
        if under_a_span:
            with root():
                canvas.apply()
        else:
            canvas.apply()
        assert len({span.context.trace_id for span in spans.finished}) == 1, (
            spans.tree()
        )


@pytest.mark.promise("CEL-33")
def test_arguments_are_off_by_default_and_bounded_when_on(
    app: Celery, spans: SpanRecorder
) -> None:
    """Only what is allowed, never what is secret, cut at the cap; defaults and keywords by their names."""
    secret = app.tasks["secret"]
    secret.apply((1,))
    uninstrument_celery()
    instrument_celery(
        capture_args=["order_id", "password", "note", "extra_*"], max_value_bytes=16
    )
    secret.apply(
        (7,), {"note": "ä" * 50, "extra_1": {"api_key": "k", "n": 1}, "other": 1}
    )
    first, second = (
        {k: v for k, v in (s.attributes or {}).items() if "args" in k}
        for s in spans.finished
    )
    assert first == {}
    assert second["celery.args.order_id"] == 7
    assert second["celery.args.password"] == "[REDACTED]"
    assert len(str(second["celery.args.note"]).encode()) <= 16
    assert "'k'" not in str(second["celery.args.extra_1"])
    assert "celery.args.other" not in second


@pytest.mark.promise("CEL-34")
def test_hooks_are_called_and_contained(
    app: Celery, spans: SpanRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """A hook that raises is logged; the task's result is its own."""

    def end(span: trace.Span, task: Task, state: str) -> None:
        span.set_attribute("mine", f"{task.name} {state}")
        raise RuntimeError("hook")

    uninstrument_celery()
    instrument_celery(on_start=lambda span, task: 1 / 0, on_end=end)  # type: ignore[arg-type,return-value]
    assert app.tasks["add"].apply((1, 2)).get() == 3
    assert (spans.one("process add").attributes or {})["mine"] == "add SUCCESS"
    assert {"on_start", "on_end"} <= {
        record.getMessage().split()[0] for record in caplog.records
    }
