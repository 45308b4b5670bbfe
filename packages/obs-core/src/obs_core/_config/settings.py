"""Resolve the settings and the source of each: argument > ``OTEL_*`` > legacy variable > default."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from obs_core._config.config import TracingConfig, needs_service_name
from obs_core._config.correlation import CorrelationConfig
from obs_core._config.endpoint import (
    DEFAULT_URL,
    Endpoint,
    Protocol,
    SignalName,
    parse_endpoint,
)
from obs_core._config.environment import TRACES_ENDPOINT, Variable, otlp_of
from obs_core._config.keep import Keep
from obs_core._config.table import SETTINGS, Setting
from obs_core._safety.redaction import Redactor
from obs_core.exceptions import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Sampler

#: The signals besides traces.
OTHER_SIGNALS: tuple[SignalName, ...] = ("logs", "metrics")
DEFAULT = "default"
ARGUMENT = "argument"
_NOT_COMMON = (DEFAULT, otlp_of("traces", "PROTOCOL").name)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The effective settings of a set-up. Equal settings trace alike."""

    service_name: str
    service_version: str | None
    service_namespace: str | None
    collector_url: str
    collector_protocol: Protocol | None
    headers: Mapping[str, str]
    sampling_rate: float
    sampler: Sampler | None
    id_generator: IdGenerator | None
    keep: Keep | None
    environment: str | None
    resource_attributes: Mapping[str, Any]
    correlation: CorrelationConfig
    export_timeout_s: float
    exit_timeout_s: float
    max_queue_size: int
    max_export_batch_size: int
    schedule_delay_s: float
    spool_dir: Path | None
    spool_max_bytes: int
    spool_max_age_s: float
    logs: bool
    metrics: bool
    metric_interval_s: float
    redact: tuple[str, ...]
    backend: str
    strict: bool
    disabled: bool
    exporter: str
    spans: str
    logs_url: str | None
    logs_protocol: Protocol | None
    logs_headers: Mapping[str, str] | None
    metrics_url: str | None
    metrics_protocol: Protocol | None
    metrics_headers: Mapping[str, str] | None
    sources: Mapping[str, str] = field(compare=False)
    problems: Sequence[str] = field(compare=False)

    @property
    def endpoint(self) -> Endpoint:
        """The collector's address in the exporters' form."""
        return self.endpoint_of("traces")

    def endpoint_of(self, signal: SignalName) -> Endpoint:
        """The collector's address for `signal`, in the exporters' form."""
        url, protocol = self.collector_url, self.collector_protocol
        own_url: str | None = getattr(self, f"{signal}_url", None)
        own_protocol: Protocol | None = getattr(self, f"{signal}_protocol", None)
        is_whole = own_url is not None
        if signal == "traces":
            is_whole = self.sources["collector_url"] == TRACES_ENDPOINT
        elif own_url or own_protocol:
            url, protocol = own_url or self._url_for(own_protocol), own_protocol
        return parse_endpoint(url, protocol, path_is_whole=is_whole, signal=signal)

    def _url_for(self, protocol: Protocol | None) -> str:
        if self.sources["collector_url"] == DEFAULT:
            return _DEFAULT_URLS[protocol]
        return self.collector_url

    def headers_of(self, signal: SignalName) -> Mapping[str, str]:
        """The headers of the export of `signal`."""
        own: Mapping[str, str] | None = None
        if signal != "traces":
            own = getattr(self, f"{signal}_headers", None)
        if own is None:
            return self.headers
        return own

    def describe(self) -> dict[str, tuple[object, str]]:
        """Return name → (value, source); header values and credentials are masked."""
        redactor = Redactor(self.redact)
        return {
            name: (SETTINGS[name].masked(redactor, getattr(self, name)), source)
            for name, source in self.sources.items()
        }


_DEFAULT_URLS: Mapping[Protocol | None, str] = {
    None: DEFAULT_URL,
    "grpc": DEFAULT_URL,
    "http": "http://localhost:4318",
}


class Found(NamedTuple):
    """A value, and its source: ``"argument"``, the name of a variable, or ``"default"``."""

    value: Any
    source: str


class _Resolution:
    """A pass over all settings; collects values, sources and the environment's problems."""

    def __init__(self, config: TracingConfig, environ: Mapping[str, str]) -> None:
        self._config = config
        self._environ = environ
        self.found: dict[str, Found] = {}
        self.problems: list[str] = []

    def resolve(self, name: str, setting: Setting) -> None:
        """Find the value of a setting: argument > variables in their order > default."""
        explicit = getattr(self._config, name, None)
        is_given = explicit is not getattr(TracingConfig, name, None)
        if is_given:
            self.found[name] = Found(explicit, ARGUMENT)
        else:
            self.found[name] = self._from_environment(name, setting)

    def _from_environment(self, name: str, setting: Setting) -> Found:
        for variable in setting.variables:
            value = self._read(name, setting, variable)
            if value is not None:
                return Found(value, variable.name)
        return Found(setting.default, DEFAULT)

    def _read(self, name: str, setting: Setting, variable: Variable) -> Any:
        """Return the variable's value, or None when unset or wrong; a wrong one is noted."""
        try:
            value = variable.read(self._environ)
            return None if value is None else setting.check(variable.name, value)
        except ConfigurationError as wrong:
            self._note(variable, wrong)
            return None

    def _note(self, variable: Variable, wrong: ConfigurationError) -> None:
        named = "" if variable.name in str(wrong) else f"{variable.name}: "
        problem = f"environment: {named}{wrong}; it is ignored"
        # a variable may be read for several settings, but is one problem
        if problem not in self.problems:
            self.problems.append(problem)

    def add_resource_attributes(self) -> None:
        """Merge the resource attributes of environment and code; for each name, code wins."""
        name = "resource_attributes"
        given, setting = self.found[name], SETTINGS[name]
        if given.source != ARGUMENT:
            return
        for variable in setting.variables:
            more = self._read(name, setting, variable)
            if more is not None:
                source = f"{ARGUMENT}, {variable.name}"
                self.found[name] = Found({**more, **given.value}, source)

    def reconcile(self) -> None:
        """Resolve contradictions of the environment: the more explicit of two settings stands."""
        self._reconcile_endpoint()
        for signal in OTHER_SIGNALS:
            self._reconcile_address(signal)
        self._reconcile_batch_size()
        if self.found["service_name"].source == DEFAULT:
            self._miss_service_name()

    def _reconcile_endpoint(self) -> None:
        url, protocol = self.found["collector_url"], self.found["collector_protocol"]
        if url.source == DEFAULT:
            url = Found(_DEFAULT_URLS[protocol.value], DEFAULT)
        wrong = _contradiction(url, protocol)
        if wrong is not None:
            variables = {url.source, protocol.source} - {ARGUMENT, DEFAULT}
            url, protocol = _agreeing(url, protocol)
            used = Redactor().url(url.value)
            self.problems.append(
                f"environment: {', '.join(sorted(variables))}: {wrong}; "
                f"using {used} with the protocol {parse_endpoint(url.value, protocol.value).protocol}"
            )
        self.found |= {"collector_url": url, "collector_protocol": protocol}

    def _reconcile_address(self, signal: SignalName) -> None:
        """Leave a signal's own address out where code says where everything goes, or where the address is wrong."""
        names = [f"{signal}_{part}" for part in ("url", "protocol", "headers")]
        url, protocol = self.found[names[0]], self.found[names[1]]
        general = self.found["collector_url"]
        if protocol.source == DEFAULT != url.source:
            protocol = self._common_protocol(url)
            self.found[names[1]] = protocol
        wrong = None
        if url.source != DEFAULT or DEFAULT not in (protocol.source, general.source):
            wrong = _contradiction(url if url.value else general, protocol)
        if wrong is not None:
            variables = {url.source, protocol.source} - {DEFAULT}
            self.problems.append(
                f"environment: {', '.join(sorted(variables))}: {wrong}; "
                f"{signal} go where spans go"
            )
        if wrong is not None or general.source == ARGUMENT:
            self.found |= dict.fromkeys(names, Found(None, DEFAULT))

    def _common_protocol(self, url: Found) -> Found:
        """Return the protocol of all signals where `url`, a signal's own address, does not contradict it."""
        common = self.found["collector_protocol"]
        if common.source in _NOT_COMMON or _contradiction(url, common):
            return Found(None, DEFAULT)
        return common

    def _reconcile_batch_size(self) -> None:
        batch, queue = (
            self.found["max_export_batch_size"],
            self.found["max_queue_size"].value,
        )
        if batch.value <= queue:
            return
        if batch.source != DEFAULT:
            self.problems.append(
                f"max_export_batch_size {batch.value} is larger than max_queue_size {queue}: lowered to it"
            )
        self.found["max_export_batch_size"] = Found(queue, DEFAULT)

    def _miss_service_name(self) -> None:
        message = "service_name is not set: give TracingConfig(service_name=…) or set OTEL_SERVICE_NAME"
        if needs_service_name(self._config):
            raise ConfigurationError(message)
        self.problems.append(f"{message}; spans go out as 'unknown_service'")


def _contradiction(url: Found, protocol: Found) -> ConfigurationError | None:
    try:
        parse_endpoint(url.value, protocol.value)
    except ConfigurationError as wrong:
        return wrong
    return None


def _agreeing(url: Found, protocol: Found) -> tuple[Found, Found]:
    """Return address and protocol that agree: an argument stands, a variable gives way to the default."""
    if protocol.source != ARGUMENT:
        protocol = Found(None, DEFAULT)
    if url.source != ARGUMENT and _contradiction(url, protocol):
        url = Found(_DEFAULT_URLS[protocol.value], DEFAULT)
    return url, protocol


def resolve(
    config: TracingConfig, environ: Mapping[str, str] | None = None
) -> Settings:
    """Combine `config` with the environment (default: the environment of this process).

    Raises:
        ConfigurationError: With ``strict=True``, the first error of the environment.
    """
    resolution = _Resolution(config, os.environ if environ is None else environ)
    for name, setting in SETTINGS.items():
        resolution.resolve(name, setting)
    resolution.add_resource_attributes()
    resolution.reconcile()
    if config.strict and resolution.problems:
        raise ConfigurationError(resolution.problems[0])
    found, problems = resolution.found, tuple(resolution.problems)
    values = {name: value for name, (value, _) in found.items()}
    sources = {name: source for name, (_, source) in found.items()}
    return Settings(**values, sources=sources, problems=problems)
