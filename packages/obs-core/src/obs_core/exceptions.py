"""All errors that obs packages raise.

::

    ObservabilityError
    ├── ConfigurationError (ValueError)     a setting is wrong: the setting, the value, the fix
    │   └── UnknownOptionError (TypeError)  no setting has this name: the nearest name
    ├── AlreadyConfiguredError              a second set-up with other settings
    └── MissingDependencyError (ImportError) an optional library is absent: the install command

Raised at set-up, by the thread that sets up; traced calls raise no error of ours.
"""

from __future__ import annotations

__all__ = [
    "AlreadyConfiguredError",
    "ConfigurationError",
    "MissingDependencyError",
    "ObservabilityError",
    "UnknownOptionError",
]


class ObservabilityError(Exception):
    """Base of every error raised by an obs package."""


class ConfigurationError(ObservabilityError, ValueError):
    """A setting is wrong; the message says the name, the value and the fix."""


class UnknownOptionError(ConfigurationError, TypeError):
    """An unknown option; the message says the nearest known name."""


class AlreadyConfiguredError(ObservabilityError, RuntimeError):
    """Tracing is set up, or a library instrumented, with other settings or by another provider."""


class MissingDependencyError(ObservabilityError, ImportError):
    """An optional library is not installed; the message is the install command."""
