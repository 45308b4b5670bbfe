"""The doctor: examine the tracing of a service, and report problems."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata

from opentelemetry import trace

from obs_core._config.config import TracingConfig
from obs_core._config.settings import Settings, resolve
from obs_core._doctor.application import (
    import_app,
    middleware_problems,
    web_applications,
)
from obs_core._doctor.libraries import libraries
from obs_core._doctor.packages import (
    double_instrumentations,
    unmet_requirements,
    untested_libraries,
)
from obs_core._doctor.probe import probe_all
from obs_core._export.exporters import encoder_in_use, exporter_type
from obs_core._export.grpc_fork_hazard import fork_hazard
from obs_core._export.signals import LOGS, METRICS, TRACES
from obs_core._provider.double_export import doubled_export
from obs_core._provider.provider import SwitchableProvider
from obs_core._provider.resource import ProcessResource
from obs_core._setup.manager import TracingManager, current_manager
from obs_core._setup.status import describe

OK, WARN, FAIL = "ok", "warn", "FAIL"
_PROBES = {"traces": "collector", "logs": "logs", "metrics": "metrics"}
_UWSGI = ("uwsgi", "pyuwsgi")


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the report; `level` is ``"ok"``, ``"warn"`` or ``"FAIL"``."""

    level: str
    topic: str
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """The findings of the doctor."""

    settings: Mapping[str, tuple[object, str]] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Whether nothing has failed; warnings are no failure."""
        return not self._failures

    @property
    def _failures(self) -> int:
        return sum(finding.level == FAIL for finding in self.findings)

    def render(self) -> str:
        """The report as text; secrets are masked."""
        width = max(map(len, self.settings), default=0)
        lines = [
            "settings",
            *(
                f"  {name:{width}}  {value!r}  ({source})"
                for name, (value, source) in self.settings.items()
            ),
        ]
        lines += [
            "",
            "libraries, and who traces them",
            *(f"  {line}" for line in self.libraries or ("none installed",)),
        ]
        lines += [
            "",
            "checks",
            *(
                f"  {found.level:4}  {found.topic}: {found.text}"
                for found in self.findings
            ),
        ]
        verdict = (
            "healthy" if self.is_healthy else f"not healthy: {self._failures} failed"
        )
        return "\n".join([*lines, "", verdict])


def examine(app: str | None = None, timeout_s: float = 2.0) -> Report:
    """Examine this environment, after importing `app` (``"module:attribute"``) if given.

    The settings are those of the application's set-up; without an application, those of the environment.
    """
    imported, found = _import(app) if app else (Finding(OK, "app", "none"), None)
    if imported.level == FAIL:
        return Report(findings=(imported,))
    manager = current_manager()
    settings = manager.settings if manager else resolve(TracingConfig.from_env())
    findings = [
        *_app_findings(app, imported, found),
        *_settings_findings(settings, manager.status.problems if manager else ()),
    ]
    findings += _doubled_findings(manager, settings)
    findings += _version_findings()
    findings += [*_fork_findings(settings), *_probe_findings(settings, timeout_s)]
    has_middleware = ("middleware", OK) in {
        (each.topic, each.level) for each in findings
    }
    lines = tuple(libraries(has_middleware))
    return Report(_described(manager, settings), lines, tuple(findings))


def _doubled_findings(
    manager: TracingManager | None, settings: Settings
) -> Iterator[Finding]:
    for text in double_instrumentations():
        yield Finding(FAIL, "instrumentation", text)
    if manager is None or manager.status.state == "skipped":
        return
    if doubled := doubled_export(trace.get_tracer_provider(), settings):
        yield Finding(WARN, "provider", doubled)


def _described(
    manager: TracingManager | None, settings: Settings
) -> dict[str, tuple[object, str]]:
    """Return the settings, with the kind of spans and the encoder in use, or those that a set-up would have."""
    if manager is not None:
        return manager.describe()
    shown = describe(settings, SwitchableProvider(ProcessResource({})))
    if settings.exporter != "none":
        shown["encoder"] = encoder_in_use(settings, exporter_type(settings))
    return shown


def _import(app: str) -> tuple[Finding, object]:
    try:
        found = import_app(app)
    except Exception as error:  # noqa: BLE001 - the application may raise anything while it is imported
        why = f"{app} cannot be imported: {type(error).__name__}: {error}"
        return Finding(FAIL, "app", why), None
    return Finding(OK, "app", f"{app} is imported"), found


def _app_findings(
    app: str | None, imported: Finding, found: object
) -> Iterator[Finding]:
    if app is None:
        return
    yield imported
    if current_manager() is None:
        text = (
            f"{app} does not call setup_tracing when it is imported: nothing is traced"
        )
        yield Finding(FAIL, "app", text)
        return
    for is_traced, text in middleware_problems(web_applications(app, found)):
        yield Finding(OK if is_traced else WARN, "middleware", text)


def _settings_findings(
    settings: Settings, problems: tuple[str, ...]
) -> Iterator[Finding]:
    for problem in dict.fromkeys([*settings.problems, *problems]):
        yield Finding(FAIL, "settings", problem)
    if settings.disabled:
        yield Finding(WARN, "settings", "OTEL_SDK_DISABLED switches tracing off")
    if settings.sampling_rate == 0:
        yield Finding(
            WARN,
            "settings",
            "sampling_rate 0 records nothing but what a caller has sampled",
        )


def _version_findings() -> list[Finding]:
    unmet = [Finding(FAIL, "versions", text) for text in unmet_requirements()]
    untested = [Finding(WARN, "versions", text) for text in untested_libraries()]
    return [*unmet, *untested] or [Finding(OK, "versions", "no conflict")]


def _fork_findings(settings: Settings) -> Iterator[Finding]:
    prefork = [name for name in ("gunicorn", "celery", *_UWSGI) if _is_installed(name)]
    hazard = fork_hazard(settings)
    if hazard:
        yield Finding(FAIL if prefork else WARN, "fork", f"{hazard}{_by(prefork)}")
    elif (
        prefork and settings.exporter == "otlp" and settings.endpoint.protocol == "grpc"
    ):
        text = "children use gRPC through its fork support; collector_protocol='http' does without"
        yield Finding(OK, "fork", text + _by(prefork))
    else:
        yield Finding(OK, "fork", "no hazard")
    yield from _uwsgi_findings()


def _uwsgi_findings() -> Iterator[Finding]:
    """Warn of a uWSGI that runs no Python threads by default: versions before 2.0.27."""
    from packaging.version import Version

    is_told = any(
        name in os.environ for name in ("UWSGI_ENABLE_THREADS", "UWSGI_THREADS")
    )
    for name in filter(_is_installed, _UWSGI):
        installed = metadata.version(name)
        if Version(installed) < Version("2.0.27") and not is_told:
            text = f"{name} {installed} runs no Python threads unless started with --enable-threads"
            yield Finding(
                WARN, "fork", f"{text}: nothing is exported. Start it so, or upgrade it"
            )


def _is_installed(distribution: str) -> bool:
    try:
        return bool(metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return False


def _by(prefork: list[str]) -> str:
    return f" (installed, and forks: {', '.join(prefork)})" if prefork else ""


def _probe_findings(settings: Settings, timeout_s: float) -> Iterator[Finding]:
    """Yield for each signal whether it would arrive."""
    exported = {
        TRACES: settings.exporter == "otlp",
        LOGS: settings.logs,
        METRICS: settings.metrics,
    }
    asked = [signal for signal, is_on in exported.items() if is_on]
    if settings.disabled:
        asked = []
    answers = probe_all(settings, asked, timeout_s)
    for signal in exported:
        topic = _PROBES[signal.name]
        answer = answers.get(signal.name)
        if answer is None:
            yield Finding(OK, topic, "not used")
        else:
            yield Finding(OK if answer.taken else FAIL, topic, answer.text)
