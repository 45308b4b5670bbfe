"""The template of the route that took a request, whole, also below mounts and included routers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from obs_http._types import Scope


def route_template(scope: Scope, first: Scope) -> str | None:
    """Return the template, for instance ``/shops/{shop}/items/{id}``; None where no route matched.

    Args:
        scope: The scope as the router left it.
        first: A copy of the scope as it came in (type, method, path, root path, headers).
    """
    native = getattr(scope.get("fastapi.telemetry"), "route", None)
    if isinstance(native, str):
        return native
    template = _fastapi_template(scope)
    if template is not None:
        return _prefix(scope, template) + template
    router = scope.get("router")
    return (
        _walk(getattr(router, "routes", ()), dict(first))
        if router is not None and "endpoint" in scope
        else None
    )


def _fastapi_template(scope: Scope) -> str | None:
    # FastAPI ≥ 0.137 keeps included routes as they were written; the template with the router's prefix is in its own scope
    effective = (
        scope.get("fastapi", {}).get("effective_route_context")
        if isinstance(scope.get("fastapi"), dict)
        else None
    )
    for candidate in (getattr(effective, "starlette_route", None), effective, scope.get("route")):
        template = getattr(candidate, "path_format", None)
        if isinstance(template, str) and template:
            # a mount's own path is part of the root path by now
            return template if getattr(candidate, "routes", None) is None else "/{path}"
    return None


def _prefix(scope: Scope, template: str) -> str:
    """Return the mounts' part of the path, with the values of their parameters put back to names."""
    outer = scope.get("app_root_path", scope.get("root_path", ""))
    mounted = scope.get("root_path", "")[len(outer) :]
    if not mounted:
        return ""
    values = {
        str(value): name
        for name, value in scope.get("path_params", {}).items()
        if f"{{{name}}}" not in template
    }
    return "/".join(
        f"{{{values[part]}}}" if part in values else part for part in mounted.split("/")
    )


def _walk(routes: Iterable[Any], scope: Scope) -> str | None:
    """Ask Starlette's routes again which of them took the request, and add up their templates."""
    partial: str | None = None
    for route in routes:
        match, child = route.matches(scope)
        template = getattr(route, "path_format", None)
        if match.name == "NONE":
            continue
        below = getattr(route, "routes", None)
        if below is not None:
            prefix = getattr(route, "path", "")
            return prefix + (_walk(below, {**scope, **child}) or "/{path}")
        if match.name == "FULL":
            return template
        partial = partial or template
    return partial
