"""The settings in force, for what reads them at each call and not once at its own set-up.

`obs_core._setup` writes them. So it does not matter whether a library is instrumented before or after
`setup_tracing`, and a later set-up (``replace=True``) holds from its first span on.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from obs_core._config.config import CorrelationConfig
from obs_core._safety.redaction import Redactor

if TYPE_CHECKING:
    from obs_core._config.settings import Settings

_settings: Settings | None = None
_DEFAULT_CORRELATION = CorrelationConfig()


def put_in_force(settings: Settings | None) -> None:
    """Let `settings` hold from now on; None: the defaults."""
    global _settings
    _settings = settings


def settings_in_force() -> Settings | None:
    """Return the settings of the current set-up, or None before the first one."""
    return _settings


def correlation_in_force() -> CorrelationConfig:
    """Return the correlation settings of the current set-up, or the defaults."""
    return _DEFAULT_CORRELATION if _settings is None else _settings.correlation


def redactor(extra: tuple[str, ...] = ()) -> Redactor:
    """Return the redactor of the current set-up (``TracingConfig(redact=...)``), with more globs.

    Ask for it at each call, not once: the set-up may come later, or be replaced. Any thread.

    Args:
        extra: Globs of names that are secret in addition to the built-in ones and the set-up's.
    """
    return _redactor(extra if _settings is None else (*_settings.redact, *extra))


@lru_cache(maxsize=16)
def _redactor(globs: tuple[str, ...]) -> Redactor:
    return Redactor(globs)
