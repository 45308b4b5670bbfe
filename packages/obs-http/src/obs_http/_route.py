"""The template of the route that took a request, whole, also below mounts and included routers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from obs_http._types import Scope

_BELOW_A_MOUNT = "/{path}"


def route_template(scope: Scope, first: Scope) -> str | None:
    """Return the template, for instance ``/shops/{shop}/items/{id}``; None where no route matched.

    Args:
        scope: The scope as the routers left it.
        first: A copy of the scope as it came in (type, method, path, root path, headers).
    """
    native = getattr(scope.get("fastapi.telemetry"), "route", None)
    if isinstance(native, str) and not native.endswith(_BELOW_A_MOUNT):
        return native
    if "endpoint" not in scope:
        return native
    start = {**first, "root_path": scope.get("app_root_path", scope.get("root_path", ""))}
    routes = getattr(scope.get("router"), "routes", ())
    prefix, routes, inner = _mounts(routes, start, scope.get("root_path", ""))
    template = _selected(scope) or _matching(routes, inner)
    if template is None and prefix:
        template = _BELOW_A_MOUNT
    return native if template is None else prefix + template


def _mounts(routes: Iterable[Any], scope: Scope, mounted: str) -> tuple[str, Iterable[Any], Scope]:
    """Follow the mounts down to the root path `mounted`; return their templates, the routes there, and the scope."""
    for route in _flat(routes):
        if scope["root_path"] == mounted:
            break
        if getattr(route, "routes", None) is None:
            continue
        match, child = route.matches(scope)
        if match.name == "FULL" and mounted.startswith(child.get("root_path", "")):
            rest, below, inner = _mounts(_below(route), {**scope, **child}, mounted)
            template: str = getattr(route, "path_format", "").removesuffix(_BELOW_A_MOUNT)
            return template + rest, below, inner
    return "", routes, scope


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    """Yield `routes`, and those of the routers that FastAPI (0.137 and later) keeps as they were included."""
    for route in routes:
        candidates = getattr(route, "effective_candidates", None)
        if candidates is None:
            yield getattr(route, "starlette_route", None) or route
        else:
            yield from _flat(candidates())


def _below(mount: Any) -> Iterable[Any]:
    """Return the routes of what is mounted, also through the middlewares around it."""
    app = mount
    while app is not None:
        if app is not mount and (routes := getattr(app, "routes", None)):
            found: Iterable[Any] = routes
            return found
        app = getattr(app, "app", None)
    return ()


def _selected(scope: Scope) -> str | None:
    """Return the template of the route that FastAPI, or Starlette from 1.10 on, says it took."""
    fastapi = scope.get("fastapi")
    effective = fastapi.get("effective_route_context") if isinstance(fastapi, dict) else None
    # FastAPI ≥ 0.137 keeps included routes as they were written; the template with the router's prefix is in its own scope
    for route in (getattr(effective, "starlette_route", None), effective, scope.get("route")):
        if getattr(route, "endpoint", None) is scope["endpoint"]:
            template = getattr(route, "path_format", None)
            if isinstance(template, str):
                return template
    return None


def _matching(routes: Iterable[Any], scope: Scope) -> str | None:
    """Ask Starlette's routes again which of them took the request."""
    partial: str | None = None
    for route in _flat(routes):
        template = getattr(route, "path_format", None)
        if template is None or getattr(route, "routes", None) is not None:
            continue
        match, _ = route.matches(scope)
        if match.name == "FULL":
            return str(template)
        if match.name == "PARTIAL":
            partial = partial or template
    return partial
