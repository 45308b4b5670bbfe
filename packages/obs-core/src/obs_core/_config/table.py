"""The settings as one table: for each setting its check, default, environment variables and mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from obs_core._config import environment as env
from obs_core._config import objects
from obs_core._config import validators as check
from obs_core._config.correlation import CorrelationConfig
from obs_core._config.endpoint import DEFAULT_URL, SignalName
from obs_core._config.environment import Variable
from obs_core._config.keep import Keep
from obs_core._safety.redaction import REDACTED, Redactor


def _unmasked(redactor: Redactor, value: Any) -> object:
    return value


def _masked_url(redactor: Redactor, value: str | None) -> str | None:
    return value and redactor.url(value)


def _masked_attributes(redactor: Redactor, value: Mapping[str, Any]) -> object:
    return redactor.value("resource_attributes", value)


def _header_names_only(
    redactor: Redactor, value: Mapping[str, str] | None
) -> dict[str, str]:
    return dict.fromkeys(value or (), REDACTED)


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table.

    Attributes:
        check: Returns a value in final form, or raises `ConfigurationError`.
        default: The value without argument and variable.
        variables: Environment variables, the strongest first: ``OTEL_*``, then the legacy names.
        masked: Returns the value as `describe()` shows it.
    """

    check: Callable[[str, Any], Any]
    default: Any = None
    variables: tuple[Variable, ...] = ()
    masked: Callable[[Redactor, Any], object] = _unmasked


def _address_of(signal: SignalName) -> dict[str, Setting]:
    """Return the rows of a signal that goes elsewhere than spans do; None: where spans go."""
    return {
        f"{signal}_url": Setting(
            check.text, None, (env.otlp_of(signal, "ENDPOINT"),), _masked_url
        ),
        f"{signal}_protocol": Setting(
            check.protocol, None, (env.otlp_of(signal, "PROTOCOL"),)
        ),
        f"{signal}_headers": Setting(
            check.headers,
            None,
            (env.otlp_of(signal, "HEADERS", env.headers, is_secret=True),),
            _header_names_only,
        ),
    }


SETTINGS: Mapping[str, Setting] = {
    "service_name": Setting(
        check.text,
        "unknown_service",
        (
            Variable("OTEL_SERVICE_NAME"),
            env.attribute("service.name"),
            Variable("SERVICE_NAME"),
        ),
    ),
    "service_version": Setting(
        check.text,
        None,
        (env.attribute("service.version"), Variable("SERVICE_VERSION")),
    ),
    "service_namespace": Setting(
        check.text,
        None,
        (env.attribute("service.namespace"), Variable("SERVICE_NAMESPACE")),
    ),
    "collector_url": Setting(
        check.text,
        DEFAULT_URL,
        (*env.otlp("ENDPOINT"), Variable("COLLECTOR_URL")),
        _masked_url,
    ),
    "collector_protocol": Setting(
        check.protocol, None, (*env.otlp("PROTOCOL"), Variable("COLLECTOR_PROTOCOL"))
    ),
    "headers": Setting(
        check.headers,
        {},
        env.otlp("HEADERS", env.headers, is_secret=True),
        _header_names_only,
    ),
    "sampling_rate": Setting(
        check.rate,
        1.0,
        (
            env.SamplerVariable("OTEL_TRACES_SAMPLER"),
            Variable("SAMPLING_RATE", env.number),
        ),
    ),
    "sampler": Setting(objects.sampler, masked=objects.shown_sampler),
    "id_generator": Setting(
        objects.id_generator,
        None,
        (Variable("OTEL_PYTHON_ID_GENERATOR", objects.named_id_generator),),
        objects.shown_id_generator,
    ),
    "keep": Setting(check.instance(Keep), None, (Variable("OBS_CORE_KEEP", env.keep),)),
    "environment": Setting(
        check.text,
        None,
        (
            env.attribute("deployment.environment.name", "deployment.environment"),
            Variable("ENVIRONMENT"),
        ),
    ),
    "resource_attributes": Setting(
        check.attributes,
        {},
        (Variable("OTEL_RESOURCE_ATTRIBUTES", env.pairs),),
        _masked_attributes,
    ),
    "correlation": Setting(
        check.instance(CorrelationConfig),
        CorrelationConfig(),
        (Variable("CORRELATION_HEADERS", env.header_names),),
    ),
    "export_timeout_s": Setting(
        check.positive_seconds, 10.0, env.otlp("TIMEOUT", env.number)
    ),
    "exit_timeout_s": Setting(check.seconds, 2.0),
    "max_queue_size": Setting(
        check.positive_integer, 2048, (Variable("OTEL_BSP_MAX_QUEUE_SIZE", env.whole),)
    ),
    "max_export_batch_size": Setting(
        check.positive_integer,
        512,
        (Variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", env.whole),),
    ),
    "schedule_delay_s": Setting(
        check.positive_seconds,
        5.0,
        (Variable("OTEL_BSP_SCHEDULE_DELAY", env.milliseconds),),
    ),
    "spool_dir": Setting(check.path),
    "spool_max_bytes": Setting(check.positive_integer, 64 << 20),
    "spool_max_age_s": Setting(check.positive_seconds, 86_400.0),
    "logs": Setting(
        check.boolean, False, (Variable("OTEL_LOGS_EXPORTER", env.is_otlp),)
    ),
    "metrics": Setting(
        check.boolean, False, (Variable("OTEL_METRICS_EXPORTER", env.is_otlp),)
    ),
    "metric_interval_s": Setting(
        check.positive_seconds,
        60.0,
        (Variable("OTEL_METRIC_EXPORT_INTERVAL", env.milliseconds),),
    ),
    "redact": Setting(check.globs, ()),
    "backend": Setting(check.backend, "none", (Variable("OBS_CORE_BACKEND"),)),
    "strict": Setting(check.boolean, False),
    "disabled": Setting(
        check.boolean, False, (Variable("OTEL_SDK_DISABLED", env.boolean),)
    ),
    "exporter": Setting(
        check.text, "otlp", (Variable("OTEL_TRACES_EXPORTER", env.exporter),)
    ),
    "spans": Setting(check.text, "light", (Variable("OBS_CORE_SPANS", env.spans),)),
    **_address_of("logs"),
    **_address_of("metrics"),
}
