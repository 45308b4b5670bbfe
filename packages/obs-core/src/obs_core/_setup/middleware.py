"""The middleware that `setup_tracing` returns: found in obs-http when the application is built."""

from __future__ import annotations

from typing import Any, NamedTuple

from obs_core._integrations.discovery import ASGI_MIDDLEWARE
from obs_core.exceptions import MissingDependencyError

ASGIApp = Any


def request_tracing_middleware(*given: Any, **more: Any) -> ASGIApp:
    """Wrap an ASGI application in obs-http's middleware: ``(app, [options], **options)``.

    Starlette before 0.45 gives ``app`` by name, so that the options come first.

    Raises:
        MissingDependencyError: obs-http is not installed.
    """
    from importlib.metadata import entry_points

    found = next(iter(entry_points(group=ASGI_MIDDLEWARE)), None)
    if found is None:
        from obs_core._integrations.install import install_command

        raise MissingDependencyError(
            f"the request middleware is part of obs-http: {install_command('obs-http')}"
        )
    positional = list(given)
    app = more.pop("app") if "app" in more else positional.pop(0)
    options: dict[str, Any] = positional[0] if positional else {}
    return found.load()(app, **{**options, **more})


class MiddlewareConfig(NamedTuple):
    """The middleware and the options, in every form that Starlette accepts.

    ``app.add_middleware(*config)``, ``app.add_middleware(config)`` and
    ``cls, kwargs = config; app.add_middleware(cls, **kwargs)`` all do the same.
    """

    cls: Any
    kwargs: dict[str, Any]

    def __call__(self, app: ASGIApp, *args: Any, **kwargs: Any) -> ASGIApp:
        """Wrap `app`, for Starlette when the whole tuple is given as the middleware class."""
        return self.cls(app, *args, **{**self.kwargs, **kwargs})

    @property
    def __name__(self) -> str:
        return "RequestTracingMiddleware"
