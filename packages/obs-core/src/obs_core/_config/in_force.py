"""The settings in force, read at each call.

`obs_core._setup` writes these settings. A library may be instrumented before `setup_tracing` or after,
and a later set-up (``replace=True``) applies from the next span on.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from obs_core._config.correlation import CorrelationConfig
from obs_core._safety.redaction import Redactor

if TYPE_CHECKING:
    from obs_core._config.settings import Settings

_settings: Settings | None = None
_DEFAULT_CORRELATION = CorrelationConfig()


def put_in_force(settings: Settings | None) -> None:
    """Let `settings` apply from now on; None: the defaults."""
    global _settings
    _settings = settings


def settings_in_force() -> Settings | None:
    """Return the settings of the current set-up, or None before the first set-up."""
    return _settings


def correlation_in_force() -> CorrelationConfig:
    """Return the correlation settings of the current set-up, or the defaults."""
    if _settings is None:
        return _DEFAULT_CORRELATION
    return _settings.correlation


def redactor(extra: tuple[str, ...] = ()) -> Redactor:
    """Return the redactor of the current set-up (``TracingConfig(redact=...)``).

    Call this for each value, since the set-up may come later or be replaced. Any thread.

    Args:
        extra: Secret globs in addition to the built-in globs and those of the set-up.
    """
    if _settings is None:
        return _redactor(extra)
    return _redactor((*_settings.redact, *extra))


@lru_cache(maxsize=16)
def _redactor(globs: tuple[str, ...]) -> Redactor:
    return Redactor(globs)
