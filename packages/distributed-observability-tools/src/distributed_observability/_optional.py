"""Lead to a function of an obs package that an extra brings, or say which extra that is."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from obs_core.exceptions import MissingDependencyError
from obs_core.integration import install_command, warn_once

# of our packages; what else an extra brings is on an index
_BRINGS = {
    "aws": ["obs-aws"],
    "celery": ["obs-celery"],
    "database": ["obs-db"],
    "fastapi": ["obs-http"],
    "grpc": ["obs-grpc"],
    "httpx": ["obs-http"],
}


def missing(extra: str) -> MissingDependencyError:
    """The error that names the extra to install."""
    package = f"distributed-observability-tools[{extra}]"
    command = install_command(package, *_BRINGS[extra])
    return MissingDependencyError(f"not installed: {command}")


def optional(target: str, extra: str) -> Callable[..., Any]:
    """Return a function that imports and calls ``"package:function"`` (`target`), which `extra` installs.

    The import is made with the first call. The function raises `MissingDependencyError`, with the
    command that installs `extra`, where the package or the instrumented library is absent.
    """
    module, _, name = target.partition(":")

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            function = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != module:
                raise
            raise missing(extra) from error
        try:
            return function(*args, **kwargs)
        except MissingDependencyError as error:
            raise missing(extra) from error

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Call `{module}.{name}`, which comes with the extra ``{extra}``."
    return call


def deprecated(old: str, new: str) -> None:
    """Warn, once a process, that `old` has a better successor."""
    warn_once(
        f"deprecated:{old}",
        f"distributed_observability's {old} is deprecated: use {new}",
    )
