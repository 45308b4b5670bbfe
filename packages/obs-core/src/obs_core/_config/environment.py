"""Environment variables as sources of settings.

See https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from obs_core._config import validators as check
from obs_core._config.correlation import CorrelationConfig
from obs_core._config.endpoint import SignalName
from obs_core._config.keep import Keep
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
        if not text:
            return None
        try:
            return self.parse(text)
        except ConfigurationError:
            raise
        except ValueError as fix:
            shown = REDACTED if self.is_secret else text
            raise check.error(self.name, shown, str(fix)) from None


@dataclass(frozen=True, slots=True)
class SamplerVariable(Variable):
    """``OTEL_TRACES_SAMPLER``, with the rate from ``OTEL_TRACES_SAMPLER_ARG``."""

    def read(self, environ: Mapping[str, str]) -> float | None:
        name = environ.get(self.name, "").strip().lower()
        if not name:
            return None
        if name not in _SAMPLERS:
            raise check.error(self.name, name, f"use one of {', '.join(_SAMPLERS)}")
        fixed, ratio = _SAMPLERS[name], Variable("OTEL_TRACES_SAMPLER_ARG", number)
        if fixed is not None:
            return fixed
        given = ratio.read(environ)
        return 1.0 if given is None else check.rate(ratio.name, given)


def number(text: str) -> float:
    """Read a number."""
    try:
        return float(text)
    except ValueError:
        raise ValueError("give a number") from None


def whole(text: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError:
        raise ValueError("give a whole number") from None


def milliseconds(text: str) -> float:
    """Read milliseconds; return seconds."""
    return number(text) / 1000


def boolean(text: str) -> bool:
    """Read true or false."""
    if text.lower() not in ("true", "false"):
        raise ValueError("use true or false")
    return text.lower() == "true"


def exporter(text: str) -> str:
    """Read the exporter: otlp, console or none."""
    if text.lower() not in ("otlp", "console", "none"):
        raise ValueError("use otlp, console or none")
    return text.lower()


def is_otlp(text: str) -> bool:
    """Read whether a signal is exported: otlp or none."""
    if text.lower() not in ("otlp", "none"):
        raise ValueError("use otlp or none")
    return text.lower() == "otlp"


def spans(text: str) -> str:
    """Read the kind of spans: light or sdk."""
    if text.lower() not in ("light", "sdk"):
        raise ValueError("use light or sdk")
    return text.lower()


def keep(text: str) -> Keep | None:
    """Read true, false, or options of `Keep` (``slower_than_s=2.0,max_bytes=1000000``)."""
    if text.lower() in ("true", "false"):
        return Keep() if text.lower() == "true" else None
    options = pairs(text)
    if unknown := sorted(options.keys() - _KEEP.keys()):
        raise ValueError(f"{unknown[0]} is no option: use {', '.join(_KEEP)}")
    return Keep(**{name: _KEEP[name](value) for name, value in options.items()})


def pairs(text: str) -> dict[str, str]:
    """Read ``key1=value1,key2=value2`` with percent-encoded values (the W3C baggage form)."""
    found = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ValueError("write key1=value1,key2=value2")
        found[unquote(key.strip())] = unquote(value.strip())
    return found


def headers(text: str) -> dict[str, str]:
    """Read headers. Raises for a name without a value, which may be a secret (a token that ends with ``=``)."""
    found = pairs(text)
    if not all(value.strip("=") for value in found.values()):
        raise ValueError("write key1=value1,key2=value2")
    return found


def attribute(*names: str) -> Variable:
    """The first of `names` in ``OTEL_RESOURCE_ATTRIBUTES``."""

    def find(text: str) -> str | None:
        found = pairs(text)
        return next(
            (found[name] for name in names if found.get(name, "").strip()), None
        )

    return Variable("OTEL_RESOURCE_ATTRIBUTES", find)


def header_names(text: str) -> CorrelationConfig:
    """Read the headers of correlation ids, separated by commas."""
    return CorrelationConfig(
        headers=[name.strip() for name in text.split(",") if name.strip()]
    )


def otlp(
    suffix: str, parse: Callable[[str], Any] = str, *, is_secret: bool = False
) -> tuple[Variable, Variable]:
    """The variable for traces, then the variable for all signals."""
    return (
        otlp_of("traces", suffix, parse, is_secret=is_secret),
        Variable(f"OTEL_EXPORTER_OTLP_{suffix}", parse, is_secret),
    )


def otlp_of(
    signal: SignalName,
    suffix: str,
    parse: Callable[[str], Any] = str,
    *,
    is_secret: bool = False,
) -> Variable:
    """The variable for a single signal."""
    name = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{suffix}"
    return Variable(name, parse, is_secret)


#: Its path is the whole path of the receiver: the specification appends nothing to it.
TRACES_ENDPOINT = otlp_of("traces", "ENDPOINT").name

_KEEP: Mapping[str, Callable[[str], Any]] = {
    "errors": boolean,
    "slower_than_s": number,
    "max_spans": whole,
    "max_bytes": whole,
    "max_age_s": number,
    "max_requests_per_s": whole,
}
