"""A sampler and an id generator of the user's: in code, and by ``OTEL_PYTHON_ID_GENERATOR``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from obs_core import TracingConfig
from obs_core._config.settings import resolve
from obs_core._provider.provider import SwitchableProvider
from obs_core._provider.resource import ProcessResource
from obs_core.exceptions import ConfigurationError
from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)

pytestmark = pytest.mark.promise("CORE-97")

#: A distribution, as pip would install it, with generators under names.
GENERATORS = """
import itertools
from opentelemetry.sdk.trace.id_generator import IdGenerator

class Dated(IdGenerator):
    made = 0
    def __init__(self):
        Dated.made += 1
    def generate_trace_id(self):
        import random
        return 0x5F84C7A1 << 96 | random.getrandbits(96) | 1
    def generate_span_id(self):
        import random
        return 0xAB << 56 | random.getrandbits(56) | 1

class Unwilling(Dated):
    def __init__(self):
        raise OSError("no clock")

def answer(): return 42
"""
ENTRY_POINTS = """[opentelemetry_id_generator]
dated = generators:Dated
unwilling = generators:Unwilling
answer = generators:answer
missing = generators:Missing
"""


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """The folder where the distribution is installed."""
    info = tmp_path / "generators-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: generators\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "generators.py").write_text(GENERATORS)
    return str(tmp_path)


class Fixed(IdGenerator):
    """Ids that a test knows."""

    def __init__(self, trace_id: Any = 0xABC, span_id: Any = 0xDEF) -> None:
        self.trace_id, self.span_id = trace_id, span_id

    def generate_trace_id(self) -> Any:
        if isinstance(self.trace_id, Exception):
            raise self.trace_id
        return self.trace_id

    def generate_span_id(self) -> Any:
        if isinstance(self.span_id, Exception):
            raise self.span_id
        return self.span_id


class ByName(Sampler):
    """Samples by the name alone, whatever the parent says."""

    def __init__(self, answer: Any = None) -> None:
        self.asked: list[str] = []
        self.answer = answer

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, *rest: Any, **more: Any
    ) -> Any:
        self.asked.append(name)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        wanted = Decision.DROP if "noise" in name else Decision.RECORD_AND_SAMPLE
        return SamplingResult(wanted, {"sampled.by": "name"})

    def get_description(self) -> str:
        return "ByName"


def provider(**given: Any) -> SwitchableProvider:
    made = SwitchableProvider(ProcessResource({}))
    made.sample(given.get("rate", 1.0), given.get("sampler"))
    made.draw_ids(given.get("id_generator"))
    return made


@pytest.mark.parametrize("kind", ["light", "sdk"])
def test_ids_are_the_generators(kind: str) -> None:
    """Trace and span ids of roots and children, with either kind of spans."""
    made = provider(id_generator=Fixed())
    made.make_spans(kind)
    tracer = made.provider.get_tracer("test")
    with tracer.start_as_current_span("root") as root:
        child = tracer.start_span("child").get_span_context()
    assert (root.get_span_context().trace_id, root.get_span_context().span_id) == (
        0xABC,
        0xDEF,
    )
    assert (child.trace_id, child.span_id) == (0xABC, 0xDEF)


@pytest.mark.parametrize(
    "wrong", [0, -1, 1 << 128, "1", None, ValueError("empty")], ids=repr
)
def test_a_generator_without_an_id_costs_none(wrong: Any) -> None:
    """A random id is drawn in its place; the span and the application never notice."""
    made = provider(id_generator=Fixed(wrong, wrong))
    span = made.provider.get_tracer("test").start_span("root")
    assert span.get_span_context().is_valid
    assert span.is_recording()


def test_whether_ids_are_random_is_the_generators_answer() -> None:
    """The flag of W3C's level 2 says so to the services called; the SDK has it from 1.42 on."""
    ask = getattr(RandomIdGenerator(), "is_trace_id_random", None)
    if ask is None:
        pytest.skip("this SDK knows no such flag")
    ours, random = provider(id_generator=Fixed()), provider()
    start = "root"
    flags = [
        each.provider.get_tracer("test").start_span(start).get_span_context()[3]
        for each in (ours, random)
    ]
    assert [flag & 2 for flag in flags] == [0, 2]


def test_the_sampler_is_asked_for_every_span() -> None:
    """As the SDK asks: below unsampled spans too, unless the sampler says of itself that it keeps their decision."""
    sampler = ByName()
    tracer = provider(sampler=sampler).provider.get_tracer("test")
    with tracer.start_as_current_span("noise") as noise:
        work = tracer.start_span("work")
    assert not noise.get_span_context().trace_flags.sampled
    assert work.get_span_context().trace_flags.sampled
    assert work.attributes == {"sampled.by": "name"}  # type: ignore[attr-defined]
    assert work.get_span_context().trace_id == noise.get_span_context().trace_id
    assert sampler.asked == ["noise", "work"]


def test_a_parent_based_sampler_is_not_asked_below_an_unsampled_span() -> None:
    """What it would answer is known: that is what an unsampled request costs."""
    root = ByName()
    tracer = provider(sampler=ParentBased(root)).provider.get_tracer("test")
    with tracer.start_as_current_span("noise"):
        work = tracer.start_span("work")
    assert not work.get_span_context().trace_flags.sampled
    assert root.asked == ["noise"]


def test_decorators_ask_the_sampler_too(run: Any, otlp_sink: Any) -> None:
    """A decorated call below an unsampled span, by a set-up in code."""
    run(
        f"""
        from obs_core import trace_function
        from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
        class ByName(Sampler):
            def should_sample(self, parent, trace_id, name, *rest, **more):
                return SamplingResult(Decision.DROP if name == "noise" else Decision.RECORD_AND_SAMPLE)
            def get_description(self):
                return "ByName"
        manager, _ = setup_tracing(TracingConfig(service_name="s", collector_url="{otlp_sink.url}", sampler=ByName()))
        assert manager.describe()["sampler"] == ("ByName", "argument")
        @trace_function(name="work")
        def work(): pass
        with tracer.start_as_current_span("noise"):
            work()
        """
    )
    assert [span.name for span in otlp_sink.wait_for(1)] == ["work"]


@pytest.mark.parametrize("answer", [ValueError("no rule"), "yes"], ids=repr)
def test_a_sampler_that_fails_samples_by_the_parent(answer: Any) -> None:
    """Logged once a minute; roots are sampled, and below a span its decision holds."""
    tracer = provider(sampler=ByName(answer)).provider.get_tracer("test")
    assert tracer.start_span("root").is_recording()
    unsampled = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=True))
    below = tracer.start_span("below", trace.set_span_in_context(unsampled))
    assert not below.is_recording()


def test_a_sampler_of_the_sdks_by_ratio_costs_what_the_rate_costs() -> None:
    """It is known by its parts, and not asked through a wrapper."""
    made = provider(sampler=ParentBased(TraceIdRatioBased(0.5)))
    assert made.sampler.bound == TraceIdRatioBased(0.5).bound
    assert provider(sampler=ALWAYS_ON).sampler.bound is None


def test_a_later_setup_goes_without_them() -> None:
    """Tracers that exist already follow."""
    made = provider(sampler=ByName(), id_generator=Fixed())
    tracer = made.provider.get_tracer("test")
    made.sample(1.0)
    made.draw_ids(None)
    span = tracer.start_span("noise")
    assert span.is_recording()
    assert span.get_span_context().trace_id != 0xABC


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sampler": 0.5}, "sampler=0.5 is not valid: give an object of a class of "),
        ({"sampler": TraceIdRatioBased}, "give an object: TraceIdRatioBased(…)"),
        ({"id_generator": "xray"}, "or set OTEL_PYTHON_ID_GENERATOR"),
        ({"id_generator": RandomIdGenerator}, "give an object: RandomIdGenerator(…)"),
        (
            {"sampler": ALWAYS_ON, "sampling_rate": 0.5},
            "sampler and sampling_rate=0.5 are two answers to one question: leave one out",
        ),
    ],
    ids=["no sampler", "its class", "a name", "a class", "two answers"],
)
def test_a_wrong_object_is_an_error_that_says_the_fix(
    given: dict[str, Any], message: str
) -> None:
    """A class in place of an object, a name, two samplers."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        TracingConfig(service_name="s", **given)


def test_the_environment_names_a_generator(
    run: Any, otlp_sink: Any, installed: str
) -> None:
    """The variable and the entry points are the SDK's; one object for all set-ups, and for a forked child."""
    run(
        f"""
        config = TracingConfig(service_name="s", collector_url="{otlp_sink.url}")
        manager, _ = setup_tracing(config)
        assert manager.describe()["id_generator"] == ("Dated", "OTEL_PYTHON_ID_GENERATOR")
        assert setup_tracing(config)[0] is manager
        import generators
        assert generators.Dated.made == 1
        spans(1, "parent")
        if (pid := os.fork()) == 0:
            spans(2, "child")
            os._exit(0 if manager.flush(20) else 1)
        assert os.waitpid(pid, 0)[1] == 0
        """,
        PYTHONPATH=installed,
        OTEL_PYTHON_ID_GENERATOR="dated",
    )
    arrived = otlp_sink.wait_for(3)
    assert {span.trace_id >> 96 for span in arrived} == {0x5F84C7A1}
    assert {span.span_id >> 56 for span in arrived} == {0xAB}
    assert len({span.trace_id for span in arrived}) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody", "no installed package has an id generator of this name"),
        ("unwilling", "it cannot be made (OSError: no clock)"),
        ("missing", "it cannot be made ("),
        ("answer", "it makes an int, which is no IdGenerator"),
    ],
)
def test_a_wrong_name_is_a_problem_and_the_default(
    name: str, message: str, installed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As everything wrong in the environment: an error with `strict`."""
    monkeypatch.syspath_prepend(installed)
    environ = {"OTEL_PYTHON_ID_GENERATOR": name}
    found = resolve(TracingConfig(service_name="s"), environ)
    assert found.id_generator is None
    assert [message in problem for problem in found.problems] == [True], found.problems
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        resolve(TracingConfig(service_name="s", strict=True), environ)


def test_random_is_the_default_by_its_name() -> None:
    """The SDK's default is called random, and is not what is asked for in its place."""
    environ = {"OTEL_PYTHON_ID_GENERATOR": "random"}
    found = resolve(TracingConfig(service_name="s"), environ)
    assert (found.id_generator, found.problems) == (None, ())


def test_a_provider_of_others_keeps_its_own(run: Any, otlp_sink: Any) -> None:
    """And the status says so."""
    run(
        f"""
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
        trace.set_tracer_provider(TracerProvider())
        manager, _ = setup_tracing(TracingConfig(service_name="s", collector_url="{otlp_sink.url}",
                                                 sampler=ALWAYS_OFF, id_generator=RandomIdGenerator()))
        assert manager.status.problems == ("sampler, id_generator: no effect, another TracerProvider makes the spans",)
        spans(1)
        """
    )
    assert len(otlp_sink.wait_for(1)) == 1
