"""The entry of a request: code that runs before the application, at its class's ``__call__``.

A middleware runs inside its application: FastAPI (0.142 and later) opens its span before any middleware, and
the answer to an unhandled exception is written outside of all middleware. The class of an application with
our middleware is therefore wrapped, at its public ``__call__``. The wrapper skips excluded requests, hides an
untrusted trace context from FastAPI's tracing (https://www.w3.org/TR/trace-context-2/), and sees the answer
to an unhandled exception.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol
from weakref import ref

from obs_core.integration import Patches, call_contained, instrument_once, uninstrument
from opentelemetry.trace import Link

from obs_http._headers import by_name
from obs_http.server._native import (
    complete_native_tracing,
    is_native,
    leave_native_tracing,
)
from obs_http.server._propagation import (
    Carrier,
    propagation_fields,
    put_right,
    remote_context,
)
from obs_http.server._types import ENTRY, MARK, TRACED, Message, Receive, Scope, Send

_NAME = "asgi-entry"
Headers = Iterable[tuple[bytes, bytes]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Entry:
    """A request at the entry of its application.

    Attributes:
        headers: The values of the wanted headers, by lower-case name, once read.
        hidden: The request's original headers, if FastAPI was shown other headers; else None.
        is_closed: The client has left; further messages are dropped.
        links: Links to the caller's span, if the caller's trace is not continued.
    """

    __slots__ = (
        *("_scope", "_seen", "_send", "_wanted"),
        *("headers", "hidden", "is_closed", "links"),
    )

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._seen: list[tuple[bytes, bytes]] | None = None
        self._wanted: dict[bytes, str] = {}
        self.headers: dict[str, list[str]] = {}
        self.hidden: Headers | None = None
        self.is_closed = False
        self.links: list[Link] = []

    async def send(self, message: Message) -> None:
        """Forward a message; add the headers to an answer that bypassed our middleware."""
        request = self._scope.get(MARK)
        if request is not None and message["type"] == "http.response.start":
            request.start_response(message)
        if not self.is_closed:
            await self._send(message)

    def read(self, wanted: dict[bytes, str]) -> None:
        """Read the `wanted` headers, the propagator's among them."""
        headers = self._scope.get("headers", ())
        self._seen = list(headers)  # a middleware may change the list in place
        self._wanted = wanted
        self.headers = by_name(self._seen, wanted)

    def has_read(self, headers: Headers | None, wanted: dict[bytes, str]) -> bool:
        """Whether `headers` are still those that were read, for the same names."""
        return headers == self._seen and wanted is self._wanted

    def hide_context(self, *, trusted: bool) -> Carrier:
        """Show the application a normalised trace context, or no context if not `trusted`; return what is shown."""
        fields = propagation_fields()
        headers, found = self._scope.get("headers", ()), self.headers
        carrier = {name: found[name] for name in fields.values() if name in found}
        if not carrier:
            return carrier
        right = dict(carrier)
        put_right(right)
        if trusted and right == carrier:
            return right
        if not trusted:
            _, self.links = remote_context(right, trusted=False)
            right = {}
        shown = [
            (name.encode(), value.encode("latin-1"))
            for name in right
            for value in right[name]
        ]
        self.hidden = headers
        self._scope["headers"] = [
            *(pair for pair in headers if pair[0] not in fields),
            *shown,
        ]
        return right

    def show_headers(self) -> None:
        """Restore the original headers."""
        if self.hidden is not None:
            self._scope["headers"] = self.hidden

    def close(self) -> None:
        """End the request: the application has returned, or raised."""
        if (request := self._scope.get(MARK)) is not None:
            request.finish()


class Guard(Protocol):
    """Handles requests at the entry of an application."""

    async def at_entry(
        self,
        app: Application,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        native: Any,
    ) -> None:
        """Handle a request before `app`; `native`: the application if it may open a span before any middleware, or None."""


Adopt = Callable[[Any], Guard | None]

#: Application and guard by the application's id, since an application need not have a hash. The guard refers to the
#: application, and would keep it alive; the application keeps the guard alive, as its middleware.
_guards: dict[int, tuple[ref[Any], ref[Guard]]] = {}
_everywhere: list[Adopt] = []


def guard_entry(app: Any, guard: Guard) -> None:
    """Let `guard` handle the requests of `app`, an instance of Starlette or FastAPI; the first guard stays."""
    if guard_of(app) is None:
        key = id(app)
        _guards[key] = ref(app, lambda _: _guards.pop(key, None)), ref(guard)
        _wrap_once(type(app))


def guard_of(app: Any) -> Guard | None:
    """Return the guard of `app`, if any."""
    found = _guards.get(id(app))
    return None if found is None else found[1]()


def leave_entry(app: Any, guard: Guard) -> None:
    """Undo `guard_entry`; the last application of a class removes the class's wrapper."""
    if guard_of(app) is guard:
        del _guards[id(app)]
        _unwrap_unused(type(app))


def guard_every_entry(classes: Sequence[type[Any]], adopt: Adopt) -> None:
    """Call `adopt` for a guard at the first message of each application of `classes` without a guard."""
    _everywhere.append(adopt)
    for cls in classes:
        _wrap_once(cls)


def leave_every_entry(classes: Sequence[type[Any]], adopt: Adopt) -> None:
    """Undo `guard_every_entry`."""
    _everywhere.remove(adopt)
    for cls in classes:
        _unwrap_unused(cls)


def _wrap_once(cls: type[Any]) -> None:
    instrument_once(_NAME, functools.partial(_wrap, cls), target=cls)
    if is_native(cls):
        complete_native_tracing()


def _unwrap_unused(cls: type[Any]) -> None:
    used = {type(app()) for app, _ in list(_guards.values())}
    if not _everywhere and cls not in used:
        uninstrument(_NAME, target=cls)
    if not _everywhere and not any(map(is_native, used)):
        leave_native_tracing()


def _wrap(cls: type[Any]) -> Callable[[], None]:
    patches = Patches()
    patches.replace(cls, "__call__", _guarding(cls.__call__, is_native(cls)))
    return patches.undo


def _guard_for(app: Any, scope: Scope) -> Guard | None:
    if MARK in scope or ENTRY in scope:
        return None
    guard = guard_of(app)
    if guard is None and _everywhere:
        guard = call_contained("tracing an application", _everywhere[-1], app)
    if scope["type"] not in TRACED:
        return None
    return guard


def _guarding(
    original: Callable[[Any, Scope, Receive, Send], Awaitable[None]],
    traces_itself: bool,
) -> Callable[..., Awaitable[None]]:
    # the same signature as the original: uvicorn calls an application without arguments to detect a
    # factory, and asgiref tests for a coroutine function
    @functools.wraps(original)
    async def call(self: Any, scope: Scope, receive: Receive, send: Send) -> None:
        guard = _guard_for(self, scope)
        if guard is None:
            await original(self, scope, receive, send)
            return
        app = functools.partial(original, self)
        native = self if traces_itself else None
        await guard.at_entry(app, scope, receive, send, native=native)

    return call
