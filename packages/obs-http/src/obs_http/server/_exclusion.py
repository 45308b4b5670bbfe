"""Paths that are not traced, matched whole: ``/health`` does not exclude ``/healthy-items``."""

from __future__ import annotations

from collections.abc import Sequence

from obs_core.integration import Globs, check_names, option_error

from obs_http._environment import excluded_urls
from obs_http._headers import text
from obs_http.server._types import Scope

DEFAULT_EXCLUDE = (
    "/health", "/health/live", "/health/ready", "/healthcheck", "/healthz", "/live", "/liveness", "/livez", "/metrics",
    "/ready", "/readiness", "/readyz",
)  # fmt: skip


class Exclusion:
    """Decides whether a request is excluded.

    Args:
        paths: Whole paths (``"/health"``) and globs (``"/internal/*"``); a trailing slash is ignored. None: the
            usual paths, and the URLs of the standard variables.

    Raises:
        ConfigurationError: A path does not start with ``/`` or ``*``.
    """

    __slots__ = ("_paths", "_urls")

    def __init__(self, paths: Sequence[str] | None) -> None:
        self._urls = None
        if paths is None:
            self._urls = excluded_urls("FASTAPI", "STARLETTE")
            paths = DEFAULT_EXCLUDE
        self._paths = path_globs(paths)

    def __call__(self, scope: Scope) -> bool:
        """Whether the request of this scope is excluded."""
        if self._paths.matches(_inner_path(scope)):
            return True
        return self._urls is not None and self._urls.search(_url(scope)) is not None


def path_globs(paths: Sequence[str]) -> Globs:
    """Return `paths` as globs; raise `ConfigurationError` unless each is a path or a glob of paths."""
    for path in check_names("exclude", paths, example="/internal/*"):
        if path[:1] not in ("/", "*"):
            raise option_error(
                "exclude", path, "let the path or glob start with '/' or '*'"
            )
    return Globs(path.rstrip("/") or "/" for path in paths)


def _inner_path(scope: Scope) -> str:
    """Return the path without the proxy's prefix and without a trailing slash."""
    path: str = scope.get("path", "")
    root_path: str = scope.get("root_path", "")
    return path.removeprefix(root_path).rstrip("/") or "/"


def _url(scope: Scope) -> str:
    """Return the URL without its query, as the patterns of the standard variables expect."""
    scheme = scope.get("scheme") or "http"
    path = scope.get("path", "")
    return f"{scheme}://{_host(scope)}{path}"


def _host(scope: Scope) -> str:
    hosts = (text(value) for name, value in scope.get("headers", ()) if name == b"host")
    if host := next(hosts, ""):
        return host
    server = scope.get("server") or ()
    return ":".join(str(part) for part in server if part is not None)
