"""The full route template of a request, through mounts and included routers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from obs_http.server._types import Scope

_BELOW_A_MOUNT = "/{path}"


def native_template(scope: Scope) -> str | None:
    """Return the template that FastAPI's telemetry has found, if it is a route's and not a mount's."""
    native = getattr(scope.get("fastapi.telemetry"), "route", None)
    if isinstance(native, str) and not native.endswith(_BELOW_A_MOUNT):
        return native
    return None


def route_template(scope: Scope, first: Scope) -> str | None:
    """Return the template, for instance ``/shops/{shop}/items/{id}``; None if no route matched.

    Args:
        scope: The scope after routing.
        first: A copy of the scope before routing (type, method, path, root path, headers).
    """
    native: str | None = getattr(scope.get("fastapi.telemetry"), "route", None)
    if "endpoint" not in scope:
        return native
    start = {
        **first,
        "root_path": scope.get("app_root_path", scope.get("root_path", "")),
    }
    routes = getattr(scope.get("router"), "routes", ())
    prefix, routes, inner = _mounts(routes, start, scope.get("root_path", ""))
    template = _selected(scope) or _matching(routes, inner)
    if template is None and prefix:
        template = _BELOW_A_MOUNT
    if template is None:
        return native
    return prefix + template


def _mounts(
    routes: Iterable[Any], scope: Scope, mounted: str
) -> tuple[str, Iterable[Any], Scope]:
    """Follow the mounts to the root path `mounted`; return their templates, the routes below, and the scope."""
    for route in _flat(routes):
        if scope["root_path"] == mounted:
            break
        if getattr(route, "routes", None) is None:
            continue
        match, child = route.matches(scope)
        if match.name == "FULL" and mounted.startswith(child.get("root_path", "")):
            rest, below, inner = _mounts(_below(route), {**scope, **child}, mounted)
            template: str = getattr(route, "path_format", "").removesuffix(
                _BELOW_A_MOUNT
            )
            return template + rest, below, inner
    return "", routes, scope


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    """Yield `routes`, with the routes of included routers (FastAPI 0.137 and later keeps routers)."""
    for route in routes:
        candidates = getattr(route, "effective_candidates", None)
        if candidates is None:
            yield getattr(route, "starlette_route", None) or route
        else:
            yield from _flat(candidates())


def _below(mount: Any) -> Iterable[Any]:
    """Return the routes of a mounted application, through its middlewares."""
    app = mount
    while app is not None:
        if app is not mount and (routes := getattr(app, "routes", None)):
            found: Iterable[Any] = routes
            return found
        app = getattr(app, "app", None)
    return ()


def _selected(scope: Scope) -> str | None:
    """Return the template of the selected route, from FastAPI, or Starlette 1.10 and later."""
    fastapi = scope.get("fastapi")
    effective = (
        fastapi.get("effective_route_context") if isinstance(fastapi, dict) else None
    )
    # FastAPI ≥ 0.137 keeps included routes unprefixed; the full template is in the FastAPI scope
    for route in (
        getattr(effective, "starlette_route", None),
        effective,
        scope.get("route"),
    ):
        if getattr(route, "endpoint", None) is scope["endpoint"]:
            template = getattr(route, "path_format", None)
            if isinstance(template, str):
                return template
    return None


def _matching(routes: Iterable[Any], scope: Scope) -> str | None:
    """Match Starlette's routes again, and return the template of the match."""
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
