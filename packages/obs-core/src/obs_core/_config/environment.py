"""The environment variables of each setting: ``OTEL_*`` first, then the legacy names.

See https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from obs_core._config import validators as check
from obs_core._config.config import CorrelationConfig
from obs_core._safety.redaction import REDACTED
from obs_core.exceptions import ConfigurationError

_SAMPLERS: Mapping[str, float | None] = {
    "always_on": 1.0,
    "parentbased_always_on": 1.0,
    "always_off": 0.0,
    "parentbased_always_off": 0.0,
    "traceidratio": None,
    "parentbased_traceidratio": None,
}


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable as a source of a setting.

    Attributes:
        name: The variable, as `describe()` shows it.
        parse: From text to the setting's value; None means that the variable does not decide this setting. Raises
            ValueError with the fix.
        is_secret: The text must not be shown.
    """

    name: str
    parse: Callable[[str], Any] = str
    is_secret: bool = False

    def read(self, environ: Mapping[str, str]) -> Any:
        """Return the parsed value, or None when unset or empty (the specification treats both alike).

        Raises:
            ConfigurationError: The text cannot be read.
        """
        text = environ.get(self.name, "").strip()
        try:
            return self.parse(text) if text else None
        except ConfigurationError:
            raise
        except ValueError as fix:
            raise check.error(self.name, REDACTED if self.is_secret else text, str(fix)) from None


@dataclass(frozen=True, slots=True)
class _SamplerVariable(Variable):
    """``OTEL_TRACES_SAMPLER``, with the rate from ``OTEL_TRACES_SAMPLER_ARG``."""

    def read(self, environ: Mapping[str, str]) -> float | None:
        name = environ.get(self.name, "").strip().lower()
        if not name:
            return None
        if name not in _SAMPLERS:
            raise check.error(self.name, name, f"use one of {', '.join(_SAMPLERS)}")
        fixed, ratio = _SAMPLERS[name], Variable("OTEL_TRACES_SAMPLER_ARG", _number)
        if fixed is not None:
            return fixed
        return check.rate(
            ratio.name, ratio.read(environ) if environ.get(ratio.name, "").strip() else 1.0
        )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("give a number") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("give a whole number") from None


def _milliseconds(text: str) -> float:
    return _number(text) / 1000


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("use true or false")
    return text.lower() == "true"


def _exporter(text: str) -> str:
    if text.lower() not in ("otlp", "console", "none"):
        raise ValueError("use otlp, console or none")
    return text.lower()


def _spans(text: str) -> str:
    if text.lower() not in ("light", "sdk"):
        raise ValueError("use light or sdk")
    return text.lower()


def _pairs(text: str) -> dict[str, str]:
    """Read ``key1=value1,key2=value2`` with percent-encoded values (the W3C baggage form)."""
    pairs = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ValueError("write key1=value1,key2=value2")
        pairs[unquote(key.strip())] = unquote(value.strip())
    return pairs


def _headers(text: str) -> dict[str, str]:
    """Read headers; without a value, what stands in a name's place may be one (a token that ends with ``=``)."""
    pairs = _pairs(text)
    if not all(value.strip("=") for value in pairs.values()):
        raise ValueError("write key1=value1,key2=value2")
    return pairs


def _attribute(*names: str) -> Variable:
    """The first of `names` in ``OTEL_RESOURCE_ATTRIBUTES``."""

    def find(text: str) -> str | None:
        pairs = _pairs(text)
        return next((pairs[name] for name in names if pairs.get(name, "").strip()), None)

    return Variable("OTEL_RESOURCE_ATTRIBUTES", find)


def _header_names(text: str) -> CorrelationConfig:
    return CorrelationConfig(headers=[name.strip() for name in text.split(",") if name.strip()])


def _otlp(
    suffix: str, parse: Callable[[str], Any] = str, *, is_secret: bool = False
) -> tuple[Variable, Variable]:
    """The variable for traces, then the variable for all signals."""
    return (
        Variable(f"OTEL_EXPORTER_OTLP_TRACES_{suffix}", parse, is_secret),
        Variable(f"OTEL_EXPORTER_OTLP_{suffix}", parse, is_secret),
    )


#: Its path is the whole path of the receiver: the specification appends nothing to it.
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"

VARIABLES: Mapping[str, tuple[Variable, ...]] = {
    "service_name": (
        Variable("OTEL_SERVICE_NAME"),
        _attribute("service.name"),
        Variable("SERVICE_NAME"),
    ),
    "service_version": (_attribute("service.version"), Variable("SERVICE_VERSION")),
    "service_namespace": (_attribute("service.namespace"), Variable("SERVICE_NAMESPACE")),
    "collector_url": (*_otlp("ENDPOINT"), Variable("COLLECTOR_URL")),
    "collector_protocol": (*_otlp("PROTOCOL"), Variable("COLLECTOR_PROTOCOL")),
    "headers": _otlp("HEADERS", _headers, is_secret=True),
    "sampling_rate": (_SamplerVariable("OTEL_TRACES_SAMPLER"), Variable("SAMPLING_RATE", _number)),
    "environment": (
        _attribute("deployment.environment.name", "deployment.environment"),
        Variable("ENVIRONMENT"),
    ),
    "resource_attributes": (Variable("OTEL_RESOURCE_ATTRIBUTES", _pairs),),
    "correlation": (Variable("CORRELATION_HEADERS", _header_names),),
    "export_timeout_s": _otlp("TIMEOUT", _number),
    "max_queue_size": (Variable("OTEL_BSP_MAX_QUEUE_SIZE", _whole),),
    "max_export_batch_size": (Variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _whole),),
    "schedule_delay_s": (Variable("OTEL_BSP_SCHEDULE_DELAY", _milliseconds),),
    "disabled": (Variable("OTEL_SDK_DISABLED", _boolean),),
    "exporter": (Variable("OTEL_TRACES_EXPORTER", _exporter),),
    "spans": (Variable("OBS_CORE_SPANS", _spans),),
}
