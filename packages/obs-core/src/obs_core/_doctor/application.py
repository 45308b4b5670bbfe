"""The application that the doctor is given: imported, and looked through for web applications without the middleware."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from obs_core._integrations.discovery import ASGI_MIDDLEWARE
from obs_core._integrations.install import install_command
from obs_core._integrations.registry import active_instrumentations


def import_app(app: str) -> object:
    """Import ``"module:attribute"`` from the working directory, as a server would; without an attribute, the module."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - the import path takes text
    module, _, attribute = app.partition(":")
    found: object = importlib.import_module(module)
    for name in filter(None, attribute.split(".")):
        found = getattr(found, name)
    return found


def web_applications(app: str, found: object) -> dict[str, Any]:
    """Return the FastAPI and Starlette applications that `found` is, or that its module holds, by name."""
    if hasattr(found, "user_middleware"):
        return {app: found}
    name = app.partition(":")[0]
    module = sys.modules.get(name)
    held = vars(module) if isinstance(module, ModuleType) else {}
    return {
        f"{name}:{key}": value
        for key, value in held.items()
        if hasattr(value, "user_middleware") and not isinstance(value, type)
    }


def middleware_problems(applications: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    """Yield for each application whether its requests are traced by obs-http, and a line that says so or how."""
    is_covered = "fastapi" in active_instrumentations()
    for name, app in applications.items():
        shown = f"{name} ({type(app).__name__})"
        if any(map(_is_ours, app.user_middleware)):
            yield True, f"{shown} has obs-http's RequestTracingMiddleware"
        elif is_covered:
            yield True, f"{shown} is traced by instrument_fastapi()"
        else:
            yield False, f"{shown} has no RequestTracingMiddleware: {_remedy(name)}"


def _is_ours(middleware: Any) -> bool:
    name = getattr(middleware.cls, "__name__", "").lower()
    return bool(name.replace("_", "") == "requesttracingmiddleware")


def _remedy(name: str) -> str:
    attribute = name.partition(":")[2]
    add = f"{attribute}.add_middleware(*middleware_config), the second of what setup_tracing returns"
    if entry_points(group=ASGI_MIDDLEWARE):
        return add
    return f"{install_command('obs-http')}, then {add}"
