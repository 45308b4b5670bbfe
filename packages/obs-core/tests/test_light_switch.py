"""Light spans or the SDK's: chosen, reported, and never light where the SDK is not known."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from obs_core._provider import tracers
from obs_core._provider.provider import SwitchableProvider
from obs_core._provider.resource import ProcessResource
from obs_core._spans import layout
from obs_core._spans.light import LightSpan
from opentelemetry import trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource

pytestmark = pytest.mark.promise("CORE-83")
SHOW = """
manager = setup_tracing(TracingConfig(service_name="s")).manager
print(type(tracer.start_span("a")).__name__, *manager.describe()["spans"], sep="|")
"""


def switchable() -> SwitchableProvider:
    made = SwitchableProvider(ProcessResource({}))
    made.sample(1.0)
    return made


def is_light(provider: Any) -> bool:
    return isinstance(provider.get_tracer("test").start_span("a"), LightSpan)


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({}, "LightSpan|light|default"),
        ({"OBS_CORE_SPANS": "sdk"}, "_Span|sdk|OBS_CORE_SPANS"),
        ({"OBS_CORE_SPANS": "light"}, "LightSpan|light|OBS_CORE_SPANS"),
    ],
    ids=str,
)
def test_the_environment_chooses_and_describe_says_which(
    run: Any, environ: dict[str, str], shown: str
) -> None:
    """Light by default."""
    assert (
        run(SHOW, OTEL_TRACES_EXPORTER="none", **environ).stdout.splitlines()[0]
        == shown
    )


def test_describe_says_whose_provider_makes_the_spans(run: Any) -> None:
    """A provider that was there before makes its own."""
    before = "from opentelemetry.sdk.trace import TracerProvider\ntrace.set_tracer_provider(TracerProvider())\n"
    out = run(before + SHOW, OTEL_TRACES_EXPORTER="none").stdout
    assert out.splitlines()[0] == "_Span|sdk|another TracerProvider makes the spans"


def test_tracers_follow_a_later_choice() -> None:
    """Also those that libraries keep."""
    made = switchable()
    tracer = made.provider.get_tracer("kept")
    for kind, is_ours in (("sdk", False), ("light", True), ("sdk", False)):
        made.make_spans(kind)
        assert isinstance(tracer.start_span("a"), LightSpan) is is_ours
        assert isinstance(tracer.start_span("a"), sdk.Span)


@pytest.fixture
def fresh_layout() -> Any:
    layout.unknown_layout.cache_clear()
    yield
    layout.unknown_layout.cache_clear()


@pytest.mark.usefixtures("fresh_layout")
def test_a_span_of_the_sdk_with_something_new_is_left_to_the_sdk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A later SDK may do more than is known; spans below an unsampled one are as cheap as ever."""

    class NewSpan(sdk._Span):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._novelty = 1

    monkeypatch.setattr(layout, "_Span", NewSpan)
    made = switchable()
    assert not is_light(made.provider)
    assert (
        made.provider.spans.reason == "the SDK's span has _novelty, which is not known"
    )
    made.make_spans("light")
    assert not is_light(made.provider)
    unsampled = trace.NonRecordingSpan(
        trace.SpanContext(1, 2, False, trace.TraceFlags(0))
    )
    below = made.provider.get_tracer("test").start_span(
        "a", trace.set_span_in_context(unsampled)
    )
    assert below.get_span_context() == unsampled.get_span_context()


def test_a_tracer_with_something_new_is_the_sdks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it would do is not known."""
    init = sdk.Tracer.__init__

    def new_init(self: Any, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        self._novelty = 1

    monkeypatch.setattr(sdk.Tracer, "__init__", new_init)
    made = switchable()
    assert not is_light(made.provider)
    assert type(made.provider.get_tracer("test")) is sdk.Tracer
    assert (
        made.provider.spans.reason
        == "the SDK's tracer has _novelty, which is not known"
    )


def test_the_sdks_own_metrics_need_its_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts spans as it makes them."""
    if not hasattr(sdk, "create_tracer_metrics"):
        pytest.skip("this SDK counts no spans")
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    made = switchable()
    assert not is_light(made.provider)
    assert made.provider.spans.reason == "the SDK's own metrics are on"


def test_a_foreign_tracer_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disabled SDK gives a tracer that makes no spans."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    provider = tracers.LightProvider(resource=Resource({}), shutdown_on_exit=False)
    assert not provider.get_tracer("test").start_span("a").is_recording()


@pytest.mark.skipif(
    not hasattr(sdk, "create_tracer_metrics"), reason="this SDK counts no spans"
)
def test_the_doctor_says_what_a_set_up_would_make() -> None:
    """Without a set-up to ask: it looks at the SDK in use."""
    environ = {
        "OTEL_SERVICE_NAME": "s",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
    }
    out = subprocess.run(
        [sys.executable, "-m", "obs_core", "doctor"],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (line,) = [line for line in out.splitlines() if line.split()[:1] == ["spans"]]
    assert line.split(None, 1)[1] == "'sdk'  (the SDK's own metrics are on)"
