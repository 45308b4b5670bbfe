"""Resolve the settings and the source of each: argument > ``OTEL_*`` > legacy variable > default."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from obs_core._config import environment
from obs_core._config.config import CHECKS, CorrelationConfig, TracingConfig, needs_service_name
from obs_core._config.endpoint import DEFAULT_URL, Endpoint, Protocol, parse_endpoint
from obs_core._safety.redaction import REDACTED, Redactor
from obs_core.exceptions import ConfigurationError

DEFAULT = "default"
ARGUMENT = "argument"


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
    redact: tuple[str, ...]
    strict: bool
    disabled: bool
    exporter: str
    spans: str
    sources: Mapping[str, str] = field(compare=False)
    problems: Sequence[str] = field(compare=False)

    @property
    def endpoint(self) -> Endpoint:
        """The collector's address in the exporters' form."""
        is_whole = self.sources["collector_url"] == environment.TRACES_ENDPOINT
        return parse_endpoint(self.collector_url, self.collector_protocol, path_is_whole=is_whole)

    def describe(self) -> dict[str, tuple[object, str]]:
        """Return name → (value, source); header values and credentials are masked."""
        redactor = Redactor(self.redact)
        shown: dict[str, tuple[object, str]] = {}
        for name, source in self.sources.items():
            value = getattr(self, name)
            if name == "headers":
                value = dict.fromkeys(value, REDACTED)
            elif name == "collector_url":
                value = redactor.url(value)
            elif name == "resource_attributes":
                value = redactor.value(name, value)
            shown[name] = (value, source)
        return shown


_DEFAULTS: Mapping[str, Any] = {
    "service_name": "unknown_service",
    "service_version": None,
    "service_namespace": None,
    "collector_url": DEFAULT_URL,
    "collector_protocol": None,
    "headers": {},
    "sampling_rate": 1.0,
    "environment": None,
    "resource_attributes": {},
    "correlation": CorrelationConfig(),
    "export_timeout_s": 10.0,
    "exit_timeout_s": 2.0,
    "max_queue_size": 2048,
    "max_export_batch_size": 512,
    "schedule_delay_s": 5.0,
    "spool_dir": None,
    "spool_max_bytes": 64 << 20,
    "spool_max_age_s": 86_400.0,
    "redact": (),
    "strict": False,
    "disabled": False,
    "exporter": "otlp",
    "spans": "light",
}
_DEFAULT_URLS: Mapping[Protocol | None, str] = {
    None: DEFAULT_URL,
    "grpc": DEFAULT_URL,
    "http": "http://localhost:4318",
}
_CHECKS = {
    **CHECKS,
    "disabled": CHECKS["strict"],
    "exporter": CHECKS["service_name"],
    "spans": CHECKS["service_name"],
}


class _Resolution:
    """A pass over all settings; collects sources and the environment's problems."""

    def __init__(self, config: TracingConfig, environ: Mapping[str, str]) -> None:
        self._config = config
        self._environ = environ
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.problems: list[str] = []

    def resolve(self, name: str) -> None:
        explicit = getattr(self._config, name, None)
        if explicit is not None and not (name == "strict" and explicit is False):
            self._take(name, explicit, ARGUMENT)
            return
        for variable in environment.VARIABLES.get(name, ()):
            if self._take_from(name, variable):
                return
        self._take(name, _DEFAULTS[name], DEFAULT)

    def _take(self, name: str, value: object, source: str) -> None:
        self.values[name], self.sources[name] = value, source

    def _take_from(self, name: str, variable: environment.Variable) -> bool:
        try:
            found = variable.read(self._environ)
            if found is None:
                return False
            self._take(name, _CHECKS[name](variable.name, found), variable.name)
        except ConfigurationError as wrong:
            named = "" if variable.name in str(wrong) else f"{variable.name}: "
            # one variable may be asked for several settings, but is one problem
            if (problem := f"environment: {named}{wrong}; it is ignored") not in self.problems:
                self.problems.append(problem)
            return False
        return True

    def add_resource_attributes(self) -> None:
        """Merge the resource attributes of environment and code; for each name, code wins."""
        if self.sources["resource_attributes"] == ARGUMENT:
            given = self.values["resource_attributes"]
            variable = environment.VARIABLES["resource_attributes"][0]
            if self._take_from("resource_attributes", variable):
                self._take(
                    "resource_attributes",
                    {**self.values["resource_attributes"], **given},
                    f"{ARGUMENT}, {variable.name}",
                )

    def reconcile(self) -> None:
        """Resolve contradictions of the environment: the more explicit of two settings stands."""
        values = self.values
        if self.sources["collector_url"] == DEFAULT:
            self._take("collector_url", _DEFAULT_URLS[values["collector_protocol"]], DEFAULT)
        try:
            parse_endpoint(values["collector_url"], values["collector_protocol"])
        except ConfigurationError as wrong:
            self._settle_endpoint(wrong)
        if values["max_export_batch_size"] > values["max_queue_size"]:
            self._lower_batch_size()
        if self.sources["service_name"] == DEFAULT:
            self._miss_service_name()

    def _settle_endpoint(self, wrong: ConfigurationError) -> None:
        asked = ", ".join(
            sorted(
                {self.sources["collector_url"], self.sources["collector_protocol"]}
                - {ARGUMENT, DEFAULT}
            )
        )
        if self.sources["collector_protocol"] != ARGUMENT:
            self._take("collector_protocol", None, DEFAULT)
        if self.sources["collector_url"] != ARGUMENT and not self._endpoint_is_sound():
            self._take("collector_url", _DEFAULT_URLS[self.values["collector_protocol"]], DEFAULT)
        used = Redactor().url(self.values["collector_url"])
        self.problems.append(
            f"environment: {asked}: {wrong}; using {used} with the protocol {self._protocol()}"
        )

    def _endpoint_is_sound(self) -> bool:
        try:
            return bool(self._protocol())
        except ConfigurationError:
            return False

    def _protocol(self) -> Protocol:
        return parse_endpoint(
            self.values["collector_url"], self.values["collector_protocol"]
        ).protocol

    def _lower_batch_size(self) -> None:
        batch, queue = self.values["max_export_batch_size"], self.values["max_queue_size"]
        if self.sources["max_export_batch_size"] != DEFAULT:
            self.problems.append(
                f"max_export_batch_size {batch} is larger than max_queue_size {queue}: lowered to it"
            )
        self._take("max_export_batch_size", queue, DEFAULT)

    def _miss_service_name(self) -> None:
        message = (
            "service_name is not set: give TracingConfig(service_name=…) or set OTEL_SERVICE_NAME"
        )
        if needs_service_name(self._config):
            raise ConfigurationError(message)
        self.problems.append(f"{message}; spans go out as 'unknown_service'")


def resolve(config: TracingConfig, environ: Mapping[str, str] | None = None) -> Settings:
    """Combine `config` with the environment (default: the environment of this process).

    Raises:
        ConfigurationError: With ``strict=True``, the first error of the environment.
    """
    resolution = _Resolution(config, os.environ if environ is None else environ)
    for name in _DEFAULTS:
        resolution.resolve(name)
    resolution.add_resource_attributes()
    resolution.reconcile()
    if config.strict and resolution.problems:
        raise ConfigurationError(resolution.problems[0])
    return Settings(
        **resolution.values, sources=resolution.sources, problems=tuple(resolution.problems)
    )
