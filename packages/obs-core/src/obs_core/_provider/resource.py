"""The resource: attributes of service, process and host, correct in forked children too."""

from __future__ import annotations

import os
import platform
import re
import socket
import sys
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource
from opentelemetry.util.types import AttributeValue

from obs_core._config.settings import Settings

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_INSTANCE, _PID, _PARENT_PID = "service.instance.id", "process.pid", "process.parent_pid"
_PER_PROCESS = frozenset({_INSTANCE, _PID, _PARENT_PID})
#: Names under which Kubernetes' downward API is usually exposed.
_KUBERNETES = {
    "k8s.pod.name": ("K8S_POD_NAME", "POD_NAME"),
    "k8s.pod.uid": ("K8S_POD_UID", "POD_UID"),
    "k8s.namespace.name": ("K8S_NAMESPACE_NAME", "K8S_NAMESPACE", "POD_NAMESPACE"),
    "k8s.node.name": ("K8S_NODE_NAME", "NODE_NAME"),
    "k8s.deployment.name": ("K8S_DEPLOYMENT_NAME",),
    "k8s.container.name": ("K8S_CONTAINER_NAME", "CONTAINER_NAME"),
    "k8s.cluster.name": ("K8S_CLUSTER_NAME",),
}
#: The names of `platform.machine` that the semantic conventions spell otherwise.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i386": "x86", "i686": "x86"}
_CONTAINER_FILES = (Path("/proc/self/cgroup"), Path("/proc/self/mountinfo"))
_CONTAINER_ID = re.compile(r"(?:^|[/-])([0-9a-f]{64})(?:\.scope)?(?:/|$)")


class ProcessResource(Resource):
    """A resource whose per-process attributes follow forks; an instance id set by the user stays.

    The SDK (1.45) overwrites a ``service.instance.id`` set by the user in each child, and earlier versions keep the parent's:
    https://github.com/open-telemetry/opentelemetry-python/issues/4390.
    """

    def __init__(
        self, attributes: Mapping[str, AttributeValue], schema_url: str | None = None
    ) -> None:
        super().__init__(dict(attributes), schema_url)
        self._fixed = {
            key: value
            for key, value in attributes.items()
            if key not in _PER_PROCESS or key == _INSTANCE
        }
        self._pid = 0
        self._current: dict[str, AttributeValue] = {}

    @property
    def attributes(self) -> Mapping[str, AttributeValue]:
        """The attributes in this process."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            own: dict[str, AttributeValue] = {
                _INSTANCE: str(uuid.uuid4()),
                _PID: self._pid,
                _PARENT_PID: os.getppid(),
            }
            self._current = {**own, **self._fixed}
        return self._current

    def become(self, other: ProcessResource) -> None:
        """Take the attributes of `other`, in place: tracers keep their resource object."""
        self._fixed, self._pid = other._fixed, 0

    def merge(self, other: Resource) -> ProcessResource:
        """Merge as the SDK does, except for per-process attributes."""
        added = {key: value for key, value in other.attributes.items() if key not in _PER_PROCESS}
        return ProcessResource({**self._fixed, **added}, self.schema_url or other.schema_url)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resource) and dict(self.attributes) == dict(other.attributes)

    def __hash__(self) -> int:
        return hash(self.schema_url)


Detector = Callable[[], Mapping[str, AttributeValue]]


def build_resource(settings: Settings) -> tuple[ProcessResource, list[str]]:
    """Return the resource for `settings`, and the failed detectors, a line each.

    Later wins: our detectors < ``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS`` < ``OTEL_RESOURCE_ATTRIBUTES`` <
    `resource_attributes` < the named settings. ``telemetry.sdk.*`` stays the SDK's.
    """
    problems: list[str] = []
    attributes: dict[str, AttributeValue] = {}
    for name, detect in _detectors().items():
        try:
            attributes.update(detect())
        except Exception as error:  # noqa: BLE001 - a detector reads the machine; whatever fails there must not stop the service
            problems.append(f"resource detector {name} failed: {error!r}")
    for key in _PER_PROCESS:
        attributes.pop(key, None)
    attributes.update(settings.resource_attributes)
    attributes.update({key: value for key, value in _named(settings).items() if value is not None})
    return ProcessResource({**attributes, **_sdk()}), problems


def _detectors() -> dict[str, Detector]:
    """Return our detectors, and those named by ``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS``.

    Used in place of `Resource.create`, which only logs failures, and starts a thread pool.
    """
    found: dict[str, Detector] = {
        "host": _host, "process": _process, "container": _container, "kubernetes": _kubernetes, "distro": _distro
    }  # fmt: skip
    names = {
        name.strip()
        for name in os.environ.get("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "").split(",")
    } - {"", "otel"}
    installed = _installed_detectors() if names else {}
    for name in sorted(installed.keys() - {"otel"} if "*" in names else names):
        found[name] = partial(_run_detector, installed.get(name))
    return found


def _installed_detectors() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group="opentelemetry_resource_detector")}


def _version_of(distribution: str) -> str:
    from importlib.metadata import version

    return version(distribution)


def _run_detector(entry: EntryPoint | None) -> Mapping[str, AttributeValue]:
    if entry is None:
        raise LookupError("it is not installed")
    detected: Mapping[str, AttributeValue] = entry.load()(raise_on_error=True).detect().attributes
    return detected


def _sdk() -> dict[str, AttributeValue]:
    return {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": _version_of("opentelemetry-sdk"),
    }


def _named(settings: Settings) -> dict[str, AttributeValue | None]:
    return {
        "service.name": settings.service_name,
        "service.version": settings.service_version,
        "service.namespace": settings.service_namespace,
        "deployment.environment.name": settings.environment,
    }


def _host() -> dict[str, AttributeValue]:
    machine = platform.machine().lower()
    return {
        "host.name": socket.gethostname(),
        "host.arch": _ARCHITECTURES.get(machine, machine),
        "os.type": platform.system().lower(),
    }


def _process() -> dict[str, AttributeValue]:
    return {
        "process.executable.name": Path(sys.executable or "python").name,
        "process.runtime.name": sys.implementation.name,
        "process.runtime.version": platform.python_version(),
    }


def _container() -> dict[str, AttributeValue]:
    """Return the container id from cgroup v1, or from the mounts of cgroup v2."""
    for path in _CONTAINER_FILES:
        if path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                if found := _CONTAINER_ID.search(line):
                    return {"container.id": found[1]}
    return {}


def _kubernetes() -> dict[str, AttributeValue]:
    found = {
        key: next((os.environ[n] for n in names if os.environ.get(n)), None)
        for key, names in _KUBERNETES.items()
    }
    return {key: value for key, value in found.items() if value is not None}


def _distro() -> dict[str, AttributeValue]:
    return {
        "telemetry.distro.name": "obs-core",
        "telemetry.distro.version": _version_of("obs-core"),
    }
