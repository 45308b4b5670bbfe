"""Where each setting comes from, and what happens to wrong ones."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import fields
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obs_core import CorrelationConfig, Keep, TracingConfig
from obs_core._config.settings import resolve
from obs_core._config.table import SETTINGS
from obs_core.exceptions import ConfigurationError, UnknownOptionError

#: setting: argument and its value, then each variable with a text and the value it means, in order of precedence
SOURCES = {
    "service_name": ("a", [
        ("OTEL_SERVICE_NAME", "b", "b"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=c", "c"), ("SERVICE_NAME", "d", "d"),
    ]),
    "service_version": ("1", [("OTEL_RESOURCE_ATTRIBUTES", "service.version=2", "2"), ("SERVICE_VERSION", "3", "3")]),
    "service_namespace": ("a", [("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=b", "b"), ("SERVICE_NAMESPACE", "c", "c")]),
    "collector_url": ("a:4317", [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "b:4317", "b:4317"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317", "c:4317"),
        ("COLLECTOR_URL", "d:4317", "d:4317"),
    ]),
    "collector_protocol": ("http", [
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc", "grpc"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "http"),
        ("COLLECTOR_PROTOCOL", "GRPC", "grpc"),
    ]),
    "headers": ({"a": "1"}, [
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "B=2%20x,c=3", {"b": "2 x", "c": "3"}),
        ("OTEL_EXPORTER_OTLP_HEADERS", "d=4=", {"d": "4="}),
    ]),
    "sampling_rate": (0.1, [("OTEL_TRACES_SAMPLER", "always_off", 0.0), ("SAMPLING_RATE", "0.3", 0.3)]),
    "environment": ("a", [
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=old,deployment.environment.name=b", "b"),
        ("ENVIRONMENT", "c", "c"),
    ]),
    "correlation": (CorrelationConfig(headers=["X-A"]), [
        ("CORRELATION_HEADERS", "X-B, X-C", CorrelationConfig(headers=["X-B", "X-C"])),
    ]),
    "export_timeout_s": (1.0, [("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2", 2.0), ("OTEL_EXPORTER_OTLP_TIMEOUT", "3", 3.0)]),
    "max_queue_size": (1000, [("OTEL_BSP_MAX_QUEUE_SIZE", "2000", 2000)]),
    "max_export_batch_size": (10, [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "20", 20)]),
    "schedule_delay_s": (1.0, [("OTEL_BSP_SCHEDULE_DELAY", "2000", 2.0)]),
    "disabled": (None, [("OTEL_SDK_DISABLED", "TRUE", True)]),
    "exporter": (None, [("OTEL_TRACES_EXPORTER", "Console", "console")]),
    "spans": (None, [("OBS_CORE_SPANS", "SDK", "sdk")]),
    "keep": (Keep(errors=False), [("OBS_CORE_KEEP", "slower_than_s=2", Keep(slower_than_s=2))]),
    "backend": ("signoz", [("OBS_CORE_BACKEND", "SigNoz", "signoz")]),
    "logs": (False, [("OTEL_LOGS_EXPORTER", "otlp", True)]),
    "metrics": (False, [("OTEL_METRICS_EXPORTER", "otlp", True)]),
    "metric_interval_s": (1.0, [("OTEL_METRIC_EXPORT_INTERVAL", "2000", 2.0)]),
    "metrics_url": (None, [("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "b:4317", "b:4317")]),
    "metrics_protocol": (None, [("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf", "http")]),
    "metrics_headers": (None, [("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "B=2%20x", {"b": "2 x"})]),
    "logs_url": (None, [("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "b:4317", "b:4317")]),
    "logs_protocol": (None, [("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf", "http")]),
    "logs_headers": (None, [("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "B=2%20x", {"b": "2 x"})]),
}  # fmt: skip


def settings(environ: dict[str, str] | None = None, **arguments: object):
    return resolve(TracingConfig(**{"service_name": "s", **arguments}), environ or {})


@pytest.mark.promise("CORE-06")
@pytest.mark.parametrize("name", SOURCES)
def test_precedence_is_code_then_otel_then_legacy_then_default(name: str) -> None:
    """Taken away one by one, each next source comes to light, and `describe` names it."""
    argument, variables = SOURCES[name]
    environ = {variable: text for variable, text, _ in reversed(variables)}
    base = {} if name == "service_name" else {"service_name": "s"}
    if argument is not None:
        assert (
            resolve(TracingConfig(**base, **{name: argument}), environ).describe()[
                name
            ][1]
            == "argument"
        )
        assert (
            getattr(resolve(TracingConfig(**base, **{name: argument}), environ), name)
            == argument
        )
    for variable, _, value in variables:
        found = resolve(TracingConfig(**base), environ)
        assert (getattr(found, name), found.sources[name], found.problems) == (
            value,
            variable,
            (),
        )
        del environ[variable]
    assert resolve(TracingConfig.from_env(), environ).sources[name] == "default"


@pytest.mark.promise("CORE-06")
def test_every_variable_has_a_test() -> None:
    """A setting that is added to the table is added here."""
    assert {
        name: [v.name for v in setting.variables]
        for name, setting in SETTINGS.items()
        # the latter's has a test of its own (test_objects.py): what it names must be installed
        if setting.variables and name not in ("resource_attributes", "id_generator")
    } == {
        name: [variable for variable, _, _ in variables]
        for name, (_, variables) in SOURCES.items()
    }


@pytest.mark.promise("CORE-06")
def test_resource_attributes_have_a_precedence_of_their_own_each() -> None:
    """Code adds to the environment's, and wins where both name one."""
    found = settings(
        {"OTEL_RESOURCE_ATTRIBUTES": "team=env,zone=z%2C1"},
        resource_attributes={"team": "code"},
    )
    assert found.resource_attributes == {"team": "code", "zone": "z,1"}
    assert found.sources["resource_attributes"] == "argument, OTEL_RESOURCE_ATTRIBUTES"


@pytest.mark.promise("CORE-06")
def test_describe_masks_secrets() -> None:
    """Header values, credentials in the URL, secret resource attributes."""
    shown = settings(
        collector_url="http://me:hunter2@h:4318",
        headers={"x-key": "hunter2"},
        resource_attributes={"db.password": "hunter2"},
    ).describe()
    assert "hunter2" not in str(shown)
    assert shown["headers"] == ({"x-key": "[REDACTED]"}, "argument")
    assert shown["collector_url"] == ("http://REDACTED:REDACTED@h:4318", "argument")
    assert shown["export_timeout_s"] == (10.0, "default")


@pytest.mark.promise("CORE-04")
@pytest.mark.parametrize(
    ("sampler", "argument", "rate"),
    [
        ("parentbased_traceidratio", "0.25", 0.25),
        ("traceidratio", "", 1.0),
        ("always_on", "0.1", 1.0),
        ("always_off", "", 0.0),
    ],
)
def test_otel_traces_sampler(sampler: str, argument: str, rate: float) -> None:
    """All of them honour a parent's decision."""
    found = settings(
        {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    )
    assert (found.sampling_rate, found.problems) == (rate, ())


WRONG_ENVIRONMENT = [
    ("OTEL_TRACES_SAMPLER", "sometimes"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "1.5"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
    ("OTEL_BSP_SCHEDULE_DELAY", "nan"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:x"),
    ("OTEL_TRACES_EXPORTER", "zipkin"),
    ("OTEL_SDK_DISABLED", "yes"),
    ("OBS_CORE_SPANS", "heavy"),
    ("OBS_CORE_KEEP", "yes"),
    ("OBS_CORE_KEEP", "slower_than_s=0"),
    ("OBS_CORE_KEEP", "max_spans=many"),
    ("OTEL_RESOURCE_ATTRIBUTES", "no-equals"),
    ("SAMPLING_RATE", "10%"),
    ("SAMPLING_RATE", "1.5"),
    ("CORRELATION_HEADERS", "X Y"),
]


@pytest.mark.promise("CORE-09")
@pytest.mark.parametrize(("variable", "text"), WRONG_ENVIRONMENT)
def test_a_wrong_environment_is_one_problem_and_the_default(
    variable: str, text: str
) -> None:
    """It names the variable, its value and the fix; with ``strict=True`` it raises."""
    found = settings({variable: text})
    (problem,) = found.problems
    assert text in problem
    assert variable in problem
    assert set(found.sources.values()) <= {"argument", "default"}
    with pytest.raises(ConfigurationError):
        settings({variable: text}, strict=True)


@pytest.mark.promise("CORE-09")
def test_a_wrong_sampler_argument_names_its_own_variable() -> None:
    """Two variables make one setting."""
    (problem,) = settings(
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "half"}
    ).problems
    assert "OTEL_TRACES_SAMPLER_ARG='half'" in problem


@pytest.mark.promise("CORE-09")
def test_a_wrong_header_variable_does_not_show_its_text() -> None:
    """Whoever forgets ``key=`` has pasted the bare secret."""
    (problem,) = settings({"OTEL_EXPORTER_OTLP_HEADERS": "hunter2"}).problems
    assert "hunter2" not in problem
    assert "OTEL_EXPORTER_OTLP_HEADERS" in problem


@pytest.mark.promise("CORE-05", "CORE-09")
@pytest.mark.parametrize(
    ("arguments", "environ", "used"),
    [
        (
            {},
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            },
            ("http://h:4318", None),
        ),
        (
            {"collector_url": "h:4318"},
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            ("h:4318", None),
        ),
        (
            {"collector_protocol": "http"},
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "h:4317"},
            ("http://localhost:4318", "http"),
        ),
    ],
)
def test_the_more_explicit_of_two_contradicting_settings_stands(
    arguments, environ, used
) -> None:
    """Code before environment, the address before the protocol; the problem says what is used."""
    found = settings(environ, **arguments)
    assert (found.collector_url, found.collector_protocol) == used
    assert f"using {used[0]} with the protocol http" in found.problems[0]


def test_a_small_queue_takes_the_default_batch_down_silently() -> None:
    """Nobody has to set two numbers to change one; two that contradict are a mistake."""
    found = settings(max_queue_size=100, strict=True)
    assert (found.max_export_batch_size, found.problems) == (100, ())
    with pytest.raises(
        ConfigurationError,
        match="max_export_batch_size 20 is larger than max_queue_size 10",
    ):
        TracingConfig(service_name="s", max_queue_size=10, max_export_batch_size=20)
    assert (
        "lowered"
        in settings(
            {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "200"}, max_queue_size=100
        ).problems[0]
    )


@pytest.mark.promise("CORE-09")
def test_a_missing_service_name_raises_unless_everything_is_left_to_the_environment() -> (
    None
):
    """`TracingConfig()` forgot it; `from_env()` may not take the application down."""
    with pytest.raises(ConfigurationError, match="OTEL_SERVICE_NAME"):
        resolve(TracingConfig(), {})
    found = resolve(TracingConfig.from_env(), {})
    assert found.service_name == "unknown_service"
    assert "OTEL_SERVICE_NAME" in found.problems[0]


WRONG_ARGUMENTS = {
    "service_name": ["", " ", 5, b"s", "s\udcff"],
    "service_version": [1.0],
    "collector_url": ["", 4317],
    "collector_protocol": ["udp", 1],
    "headers": [["a"], {"a b": "c"}, {"a": "b\nc"}, {"a": 1}, {"a": "ü"}],
    "sampling_rate": ["0.1", -0.1, 1.1, math.nan, math.inf, True],
    "resource_attributes": [
        ["a"],
        {1: "b"},
        {"": "b"},
        {"a": object()},
        {"a": ["b", 1]},
        {"a": {"b": 1}},
        {"a": "\ud800"},
        {"a\ud800": "b"},
        {"a": range(10**12)},
    ],
    "correlation": ["X-A", {"headers": ["X-A"]}],
    "export_timeout_s": [0, -1, "10", math.inf],
    "exit_timeout_s": [-1, math.nan],
    "max_queue_size": [0, 1.0, "5", True],
    "max_export_batch_size": [0],
    "schedule_delay_s": [0],
    "redact": ["*ssn*", ["*"], [""], [1], range(10**12), repeat("x")],
    "strict": ["yes", 1],
}


@pytest.mark.promise("CORE-09")
@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in WRONG_ARGUMENTS.items() for value in values],
)
def test_a_wrong_argument_raises_and_says_what_and_why(
    name: str, value: object
) -> None:
    """Where it is written, not at the first span."""
    with pytest.raises(ConfigurationError) as caught:
        TracingConfig(**{"service_name": "s", name: value})
    message = str(caught.value)
    assert name in message
    assert any(
        hint in message
        for hint in ("give ", "use ", "made of", "must be", "mask everything")
    )


@pytest.mark.promise("CORE-09")
@given(
    name=st.sampled_from([f.name for f in fields(TracingConfig)]),
    value=st.from_type(object) | st.floats() | st.text(),
)
def test_any_value_is_accepted_or_a_configuration_error(
    name: str, value: object
) -> None:
    """Never an AttributeError from within."""
    with suppress(ConfigurationError):
        TracingConfig(**{"service_name": "s", name: value})


@pytest.mark.promise("CORE-09")
@given(
    st.dictionaries(
        st.sampled_from(
            sorted(
                {
                    variable.name
                    for setting in SETTINGS.values()
                    for variable in setting.variables
                }
                | {"OTEL_TRACES_SAMPLER_ARG"}
            )
        ),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    )
)
def test_no_environment_takes_the_application_down(environ: dict[str, str]) -> None:
    """Whatever the variables hold, the settings are usable, and what is wrong is told."""
    found = resolve(TracingConfig.from_env(), environ)
    assert found.endpoint.target
    assert 0 <= found.sampling_rate <= 1
    assert found.max_export_batch_size <= found.max_queue_size
    found.describe()


def test_an_unknown_option_names_the_nearest() -> None:
    """A typing error is the most frequent one."""
    with pytest.raises(UnknownOptionError, match="did you mean 'sampling_rate'"):
        TracingConfig(service_name="s", samplingrate=0.1)
    with pytest.raises(ConfigurationError, match="keyword arguments only"):
        TracingConfig("s")
    with pytest.raises(
        UnknownOptionError, match="options are headers, propagation, generate_id"
    ):
        CorrelationConfig(zzz=1)
