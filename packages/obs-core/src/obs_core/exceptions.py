"""Every error that obs packages raise, in one tree.

::

    ObservabilityError
    ├── ConfigurationError (ValueError)     a setting is wrong: what, the value, the fix
    │   └── UnknownOptionError (TypeError)  no such setting: the nearest one is named
    ├── AlreadyConfiguredError              a second setup asks for something else
    └── MissingDependencyError (ImportError) an optional library is absent: the install command is named

All of them are raised at set-up, by the thread that sets up; none is raised by a traced call.
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
    """A setting is wrong; the message names it, its value and the fix."""


class UnknownOptionError(ConfigurationError, TypeError):
    """There is no option of that name; the message names the nearest one."""


class AlreadyConfiguredError(ObservabilityError, RuntimeError):
    """Tracing is set up already, with another configuration or by someone else."""


class MissingDependencyError(ObservabilityError, ImportError):
    """An optional library is not installed; the message is the install command."""
