"""Which paths are not traced: matched whole, so that ``/health`` leaves ``/healthy-items`` alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

from obs_core.exceptions import ConfigurationError

DEFAULT_EXCLUDED_PATHS = (
    "/health", "/health/live", "/health/ready", "/healthcheck", "/healthz", "/live", "/liveness", "/livez", "/metrics",
    "/ready", "/readiness", "/readyz",
)  # fmt: skip


class PathExclusion:
    """Answers whether a path is excluded.

    Args:
        paths: Whole paths (``"/health"``) and globs (``"/internal/*"``); a slash at the end makes no difference.

    Raises:
        ConfigurationError: A path does not start with ``/`` or ``*``.
    """

    __slots__ = ("_pattern",)

    def __init__(self, paths: Sequence[str]) -> None:
        if isinstance(paths, str):
            raise ConfigurationError(f"excluded_paths={paths!r} is not a list: write [{paths!r}]")
        for path in paths:
            if path[:1] not in ("/", "*"):
                raise ConfigurationError(
                    f"excluded_paths: {path!r} is not a path or glob: let it start with '/', or '*/'"
                )
        self._pattern = (
            re.compile("|".join(translate(path.rstrip("/") or "/") for path in paths))
            if paths
            else None
        )

    def __call__(self, path: str, root_path: str = "") -> bool:
        """Whether the request for `path` is not to be traced; `root_path`, the proxy's prefix, does not count."""
        if self._pattern is None:
            return False
        inner = path[len(root_path) :] if root_path and path.startswith(root_path) else path
        return self._pattern.match(inner.rstrip("/") or "/") is not None
