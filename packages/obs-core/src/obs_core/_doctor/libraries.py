"""Each installed library that can be traced, and who traces it in this process: ours, the library itself, contrib, nobody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata

from packaging.requirements import Requirement

from obs_core._doctor.packages import (
    contrib_instrumentors,
    installed,
    is_telemetry,
    version,
)
from obs_core._integrations.contrib import contrib_is_active
from obs_core._integrations.discovery import find_instrumentors
from obs_core._integrations.install import install_command, instrumented
from obs_core._integrations.native import NATIVE_TRACERS, NativeTracer
from obs_core._integrations.registry import active_instrumentations

#: Our entry points by library, where the names differ.
_ENTRIES = {
    "aiobotocore": ("boto3",),
    "botocore": ("boto3",),
    "grpcio": ("grpc_client", "grpc_server"),
    "httpx2": ("httpx",),
    "starlette": ("fastapi",),
}
#: Which package of ours covers a library. gRPC and requests are left out: OTLP's exporters bring them.
_COVERED = {
    "boto3": "obs-aws",
    "celery": "obs-celery",
    "fastapi": "obs-http",
    "httpx": "obs-http",
    "redis": "obs-db",
    "sqlalchemy": "obs-db",
}
#: Libraries that OpenTelemetry alone instruments. Drivers are traced through SQLAlchemy where it drives them.
_CONTRIBS = (
    *("aiohttp-client", "aiokafka", "aio-pika", "django", "elasticsearch", "flask"),
    *("confluent-kafka", "kafka-python", "pika", "pymongo", "tornado"),
)
_DISTRIBUTIONS = {"aiohttp-client": "aiohttp"}


_TELEMETRY = {"opentelemetry-api", "opentelemetry-sdk"}


@dataclass(slots=True)
class Library:
    """A library: its active tracers, and how to switch an inactive one on."""

    tracers: list[str] = field(default_factory=list)
    remedies: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Who traces it."""
        if self.tracers:
            return " and ".join(dict.fromkeys(self.tracers))
        return ": ".join(["nobody", *self.remedies[:1]])


def libraries(has_middleware: bool) -> Iterator[str]:
    """Describe each traceable library that is installed or instrumented, a line each, sorted by name.

    Args:
        has_middleware: The web application has obs-http's middleware.
    """
    found: dict[str, Library] = {}
    _add_self_traced(found)
    active = {*active_instrumentations(), *(["fastapi"] if has_middleware else ())}
    _add_ours(found, active)
    _add_contribs(found)
    _add_uncovered(found)
    for name, library in sorted(found.items()):
        yield f"{name} {version(name) or ''}".rstrip() + f": {library.line()}"


def _add_self_traced(found: dict[str, Library]) -> None:
    known = {each.distribution for each in NATIVE_TRACERS}
    for each in NATIVE_TRACERS:
        if _traces_itself(each):
            found.setdefault(each.distribution, Library()).tracers.append("itself")
    for name, distribution in installed().items():
        if name in known:
            continue
        lines = [line for line in distribution.requires or () if "telemetry" in line]
        needed = {*map(_unconditional, lines)}
        # an SDK of its own makes it a tracing tool
        if needed & _TELEMETRY == {"opentelemetry-api"} and not is_telemetry(name):
            found.setdefault(name, Library()).tracers.append("itself")


def _traces_itself(native: NativeTracer) -> bool:
    """Whether a library that is known to trace itself is installed, makes spans, and is not switched off by a variable."""
    from packaging.version import Version

    present = version(native.distribution)
    if not present or not native.scope or Version(present) < Version(native.since):
        return False
    variable, _, value = native.off.partition("=")
    return os.environ.get(variable, "").lower() != value.lower() or not value


def _unconditional(line: str) -> str:
    requirement = Requirement(line)
    is_extra = requirement.marker is not None and "extra" in str(requirement.marker)
    return "" if is_extra else requirement.name.lower()


def _add_ours(found: dict[str, Library], active: set[str]) -> None:
    for entry in find_instrumentors():
        call = entry.value.rpartition(":")[2]
        for name in _libraries_of(entry):
            library = found.setdefault(name, Library())
            if entry.name in active:
                library.tracers.append(_source(entry))
            ways = f'{call}(), or setup_tracing(config, instrument="auto")'
            library.remedies.append(f"{_source(entry)} does after {ways}")


def _libraries_of(entry: metadata.EntryPoint) -> list[str]:
    if entry.dist is None:
        return [entry.name]
    declared = [requirement.name for requirement in instrumented(entry.dist.name)]
    mine = [name for name in declared if entry.name in _ENTRIES.get(name, (name,))]
    if not mine:
        return [entry.name]
    return [name for name in mine if version(name)]


def _add_contribs(found: dict[str, Library]) -> None:
    for entry in contrib_instrumentors():
        if not contrib_is_active(entry.value) or entry.dist is None:
            continue
        names = {requirement.name for requirement in instrumented(entry.dist.name)}
        for name in filter(version, names or {entry.name}):
            found.setdefault(name, Library()).tracers.append(_source(entry))
        if not names:
            found.setdefault(entry.name, Library()).tracers.append(_source(entry))


def _add_uncovered(found: dict[str, Library]) -> None:
    for name, package in _COVERED.items():
        if version(name) and not version(package):
            remedies = found.setdefault(name, Library()).remedies
            remedies.append(f"{package} would, after {install_command(package)}")
    for suffix in _CONTRIBS:
        name = _DISTRIBUTIONS.get(suffix, suffix)
        if version(name) and name not in found:
            contrib = f"opentelemetry-instrumentation-{suffix}"
            found[name] = Library(remedies=[f"{contrib} would"])


def _source(entry: metadata.EntryPoint) -> str:
    if entry.dist is None:
        return "an unknown package"
    return f"{entry.dist.name} {entry.dist.version}"
