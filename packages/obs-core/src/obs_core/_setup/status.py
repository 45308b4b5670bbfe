"""The status of tracing and the effective settings, in the form that users read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obs_core._config.settings import Settings
    from obs_core._provider.provider import SwitchableProvider


@dataclass(frozen=True, slots=True)
class Status:
    """Whether tracing works as configured.

    Attributes:
        state: ``"active"``; ``"degraded"``: a value of the environment was wrong, see `problems`; ``"disabled"``:
            ``OTEL_SDK_DISABLED``; ``"skipped"``: another provider is in force (``on_existing_provider="skip"``);
            ``"stopped"``.
        problems: The problems, a line each.
    """

    state: str
    problems: tuple[str, ...] = ()


def describe(
    settings: Settings, provider: SwitchableProvider | None
) -> dict[str, tuple[object, str]]:
    """Return setting → (effective value, source), secrets masked."""
    shown = settings.describe()
    reason = _why_not_light(settings, provider)
    if reason is not None:
        shown["spans"] = ("sdk", reason)
    return shown


def _why_not_light(
    settings: Settings, provider: SwitchableProvider | None
) -> str | None:
    """Return why spans are the SDK's though light ones were asked for, or None."""
    if settings.spans != "light" or settings.disabled:
        return None
    if provider is None:
        return "another TracerProvider makes the spans"
    provider.provider.get_tracer("obs_core")  # a tracer may be what is not known
    return provider.provider.spans.reason
