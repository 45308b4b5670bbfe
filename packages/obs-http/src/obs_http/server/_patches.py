"""Put the middleware around applications, also after their first request, and take it out again."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod, WeakValueDictionary

from obs_core.exceptions import ConfigurationError
from obs_core.integration import (
    Patches,
    instrument_once,
    require,
    uninstrument,
    warn_unsupported_version,
)

from obs_http.server._entry import (
    Guard,
    guard_entry,
    guard_every_entry,
    guard_of,
    leave_entry,
    leave_every_entry,
)
from obs_http.server._middleware import RequestTracingMiddleware
from obs_http.server._types import Receive, Scope, Send

if TYPE_CHECKING:
    from starlette.applications import Starlette

#: Of the instrumentation, in the registry.
NAME = "fastapi"
_OURS = ("RequestTracingMiddleware", "request_tracing_middleware")
Build = Callable[[Any], RequestTracingMiddleware]


def check_application(app: object | None) -> None:
    """Raise unless `app` is an application, or None and Starlette is installed; warn of untested versions.

    Raises:
        MissingDependencyError: Starlette is not installed.
        ConfigurationError: `app` is not a FastAPI or Starlette application.
    """
    require("starlette", package="obs-http")
    from starlette.applications import Starlette

    for library in ("starlette", "fastapi"):
        warn_unsupported_version("obs-http", library)
    if not isinstance(app, Starlette | None):
        raise ConfigurationError(
            f"instrument_fastapi takes a FastAPI or Starlette application, not {app!r}; "
            "without an application, all are traced"
        )


def add_to_all(build: Build) -> Callable[[], None]:
    build(_no_application)  # raises now if an option is wrong
    # by id, since an application need not have a hash
    adopted: WeakValueDictionary[int, Starlette] = WeakValueDictionary()
    adopt = functools.partial(_adopt, adopted, build)
    classes = _application_classes()
    guard_every_entry(classes, adopt)

    def undo() -> None:
        leave_every_entry(classes, adopt)
        for app in list(adopted.values()):
            uninstrument(NAME, target=app)

    return undo


def _application_classes() -> list[type[Any]]:
    from starlette.applications import Starlette

    if importlib.util.find_spec("fastapi") is None:
        return [Starlette]
    from fastapi.applications import FastAPI  # contrib replaces `fastapi.FastAPI`

    return [Starlette, FastAPI]


async def _no_application(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError


def _adopt(
    adopted: MutableMapping[int, Starlette], build: Build, app: Starlette
) -> Guard | None:
    """Instrument `app` at its first message, unless its own code has added the middleware."""
    if any(
        getattr(entry.cls, "__name__", "") in _OURS for entry in app.user_middleware
    ):
        return None
    adopted[id(app)] = app
    instrument_once(NAME, functools.partial(add_to, app, build), target=app)
    return guard_of(app)


def add_to(app: Starlette, build: Build) -> Callable[[], None]:
    middleware = build(app.middleware_stack)  # also raises now if an option is wrong
    # the registry keeps the undo function, which must not keep the application alive
    return functools.partial(_undo, WeakMethod(Surrounding(app, middleware).remove))


def _undo(remove: WeakMethod[Callable[[], None]]) -> None:
    if (found := remove()) is not None:
        found()


class Surrounding:
    """The middleware around an application, which alone keeps both alive: by its `build_middleware_stack`."""

    def __init__(self, app: Starlette, middleware: RequestTracingMiddleware) -> None:
        self._app = app
        self._middleware = middleware
        self._patches = Patches()
        self._patches.wrap(app, "build_middleware_stack", self._build_stack)
        if app.middleware_stack is not None:
            app.middleware_stack = middleware
        guard_entry(app, middleware)

    def _build_stack(self, original: Callable[[], Any]) -> RequestTracingMiddleware:
        self._middleware.app = original()
        return self._middleware

    def remove(self) -> None:
        """Put back the application's stack, without the middleware."""
        self._patches.undo()
        leave_entry(self._app, self._middleware)
        if self._app.middleware_stack is self._middleware:
            self._app.middleware_stack = self._middleware.app
        if (outer := self._outer()) is not None:
            outer.app = self._middleware.app

    def _outer(self) -> Any:
        """Return the middleware that another library has put around ours, if any."""
        outer: Any = self._app.middleware_stack
        while outer is not None and getattr(outer, "app", None) is not self._middleware:
            outer = getattr(outer, "app", None)
        return outer
