"""Put the middleware around applications, also after their first request, and take it out again."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, ref

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
_UNDO = "_obs_http_undo"
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
    adopted: WeakSet[Starlette] = WeakSet()
    adopt = functools.partial(_adopt, adopted, build)
    classes = _application_classes()
    guard_every_entry(classes, adopt)

    def undo() -> None:
        leave_every_entry(classes, adopt)
        for app in list(adopted):
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


def _adopt(adopted: WeakSet[Starlette], build: Build, app: Starlette) -> Guard | None:
    """Instrument `app` at its first message, unless its own code has added the middleware."""
    if any(
        getattr(entry.cls, "__name__", "") in _OURS for entry in app.user_middleware
    ):
        return None
    adopted.add(app)
    instrument_once(NAME, functools.partial(add_to, app, build), target=app)
    return guard_of(app)


def add_to(app: Starlette, build: Build) -> Callable[[], None]:
    middleware = build(app.middleware_stack)  # also raises now if an option is wrong
    patches = Patches()
    patches.wrap(app, "build_middleware_stack", functools.partial(_around, middleware))
    if app.middleware_stack is not None:
        app.middleware_stack = middleware
    guard_entry(app, middleware)
    # the registry keeps the undo function, which must not keep the application alive
    setattr(app, _UNDO, functools.partial(_remove, app, middleware, patches))
    return functools.partial(_undo, ref(app))


def _undo(target: ref[Starlette]) -> None:
    app = target()
    if app is not None:
        vars(app).pop(_UNDO)()


def _around(
    middleware: RequestTracingMiddleware, build_stack: Callable[[], Any]
) -> RequestTracingMiddleware:
    middleware.app = build_stack()
    return middleware


def _remove(
    app: Starlette, middleware: RequestTracingMiddleware, patches: Patches
) -> None:
    patches.undo()
    leave_entry(app, middleware)
    if app.middleware_stack is middleware:
        app.middleware_stack = middleware.app
    outer: Any = app.middleware_stack
    while outer is not None and getattr(outer, "app", None) is not middleware:
        outer = getattr(outer, "app", None)
    if outer is not None:
        outer.app = middleware.app
