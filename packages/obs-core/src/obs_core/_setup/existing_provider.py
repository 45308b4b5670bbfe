"""A global TracerProvider of other code: joined, left to itself, or refused (``on_existing_provider``)."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from obs_core._config.settings import Settings
from obs_core._provider.double_export import doubled_export
from obs_core._provider.processors import Pipeline
from obs_core._provider.provider import SwitchableProvider
from obs_core._safety.containment import warn_once
from obs_core._setup.manager import TracingManager
from obs_core.exceptions import AlreadyConfiguredError


def existing_provider(own: SwitchableProvider | None) -> trace.TracerProvider | None:
    """Return the global provider if other code has set one; None if there is none, or `own`."""
    present = trace.get_tracer_provider()
    if isinstance(present, trace.ProxyTracerProvider):
        return None
    is_ours = own is not None and present is own.provider
    return None if is_ours else present


def already_configured(foreign: trace.TracerProvider) -> AlreadyConfiguredError:
    """Return the error of ``on_existing_provider="fail"``."""
    kind = type(foreign)
    return AlreadyConfiguredError(
        f"a {kind.__module__}.{kind.__qualname__} is the global TracerProvider already: "
        "remove it, or use on_existing_provider='attach' or 'skip'"
    )


def skip(settings: Settings) -> TracingManager:
    """Return the manager of a set-up that leaves the provider to itself."""
    problem = "another TracerProvider is in force, and is left to itself"
    return TracingManager(settings, problems=[problem], state="skipped")


def join(
    foreign: trace.TracerProvider, pipeline: Pipeline, settings: Settings
) -> list[str]:
    """Let the spans of `foreign` pass through `pipeline`; return the problems."""
    if not isinstance(foreign, TracerProvider):
        problem = f"the global {type(foreign).__qualname__} is not the SDK's: its spans cannot be exported by obs-core"
        warn_once("foreign-provider", problem)
        return [problem]
    if doubled := doubled_export(foreign, settings):
        warn_once(doubled, doubled)
    foreign.add_span_processor(pipeline)
    return []


def without_effect(settings: Settings) -> list[str]:
    """Return the problem of objects that are the provider's own; warn once."""
    names = ("sampler", "id_generator")
    given = [name for name in names if getattr(settings, name) is not None]
    if not given:
        return []
    problem = f"{', '.join(given)}: no effect, another TracerProvider makes the spans"
    warn_once(problem, problem)
    return [problem]
