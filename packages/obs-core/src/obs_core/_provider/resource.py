"""The resource: attributes of service, process and host, correct in forked children too."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping

from opentelemetry.sdk.resources import Resource
from opentelemetry.util.types import AttributeValue

from obs_core._config.settings import Settings
from obs_core._provider.detectors import detectors, version_of

_INSTANCE, _PID, _PARENT_PID = (
    "service.instance.id",
    "process.pid",
    "process.parent_pid",
)
_PER_PROCESS = frozenset({_INSTANCE, _PID, _PARENT_PID})


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
        self._by_process: dict[int, dict[str, AttributeValue]] = {}

    @property
    def attributes(self) -> Mapping[str, AttributeValue]:
        """The attributes in this process."""
        pid = os.getpid()
        found = self._by_process.get(pid)
        if found is None:
            own: dict[str, AttributeValue] = {
                _INSTANCE: str(uuid.uuid4()),
                _PID: pid,
                _PARENT_PID: os.getppid(),
            }
            # a single step, without a lock: the threads that export agree on the id, and a child finds no lock taken
            found = self._by_process.setdefault(pid, {**own, **self._fixed})
        return found

    def become(self, other: ProcessResource) -> None:
        """Take the attributes of `other`, in place: tracers keep their resource object."""
        self._fixed, self._by_process = other._fixed, {}

    def merge(self, other: Resource) -> ProcessResource:
        """Merge as the SDK does, except for per-process attributes."""
        merged = dict(self._fixed)
        merged.update(
            (key, value)
            for key, value in other.attributes.items()
            if key not in _PER_PROCESS
        )
        return ProcessResource(merged, self.schema_url or other.schema_url)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resource) and dict(self.attributes) == dict(
            other.attributes
        )

    def __hash__(self) -> int:
        return hash(self.schema_url)


def build_resource(settings: Settings) -> tuple[ProcessResource, list[str]]:
    """Return the resource for `settings`, and the failed detectors, a line each.

    Later wins: our detectors < ``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS`` < ``OTEL_RESOURCE_ATTRIBUTES`` <
    `resource_attributes` < the named settings. ``telemetry.sdk.*`` stays the SDK's.
    """
    problems: list[str] = []
    attributes: dict[str, AttributeValue] = {}
    for name, detect in detectors().items():
        try:
            attributes.update(detect())
        except Exception as error:  # noqa: BLE001 - a detector reads the machine; whatever fails there must not stop the service
            problems.append(f"resource detector {name} failed: {error!r}")
    for key in _PER_PROCESS:
        attributes.pop(key, None)
    attributes.update(settings.resource_attributes)
    attributes.update(
        {key: value for key, value in _named(settings).items() if value is not None}
    )
    return ProcessResource({**attributes, **_sdk()}), problems


def _sdk() -> dict[str, AttributeValue]:
    return {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": version_of("opentelemetry-sdk"),
    }


def _named(settings: Settings) -> dict[str, AttributeValue | None]:
    return {
        "service.name": settings.service_name,
        "service.version": settings.service_version,
        "service.namespace": settings.service_namespace,
        "deployment.environment.name": settings.environment,
        **_former_environment(settings),
    }


def _former_environment(settings: Settings) -> dict[str, AttributeValue | None]:
    """Return the environment under the name that SigNoz's service list, service map and filters ask for."""
    if settings.backend != "signoz":
        return {}
    return {"deployment.environment": settings.environment}
