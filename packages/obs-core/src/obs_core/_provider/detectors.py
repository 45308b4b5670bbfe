"""Resource detectors: the attributes of host, process, container and Kubernetes pod."""

from __future__ import annotations

import os
import platform
import re
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry.util.types import AttributeValue

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

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

Detector = Callable[[], Mapping[str, AttributeValue]]


def detectors() -> dict[str, Detector]:
    """Return our detectors, and those named by ``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS``.

    Used in place of `Resource.create`, which only logs failures, and starts a thread pool.
    """
    found: dict[str, Detector] = {
        "host": _host, "process": _process, "container": _container, "kubernetes": _kubernetes, "distro": _distro
    }  # fmt: skip
    names = {
        name.strip()
        for name in os.environ.get("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "").split(
            ","
        )
    } - {"", "otel"}
    installed = _installed_detectors() if names else {}
    for name in sorted(installed.keys() - {"otel"} if "*" in names else names):
        found[name] = partial(_run_detector, installed.get(name))
    return found


def _installed_detectors() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {
        entry.name: entry
        for entry in entry_points(group="opentelemetry_resource_detector")
    }


def _run_detector(entry: EntryPoint | None) -> Mapping[str, AttributeValue]:
    if entry is None:
        raise LookupError("it is not installed")
    detected: Mapping[str, AttributeValue] = (
        entry.load()(raise_on_error=True).detect().attributes
    )
    return detected


def version_of(distribution: str) -> str:
    from importlib.metadata import version

    return version(distribution)


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
        "telemetry.distro.version": version_of("obs-core"),
    }
