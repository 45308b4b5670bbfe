"""The user's hooks: functions and, for asynchronous clients, coroutine functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from obs_core.exceptions import ConfigurationError
from obs_core.integration import call_contained, log_failure
from opentelemetry.trace import Span


class Hook:
    """A hook of the user; exceptions are logged and never reach the application.

    Args:
        name: For messages, for instance ``"httpx on_start"``.
        function: The user's function; None: no hook.
        awaits: Whether any of the clients can await a coroutine.
        also: For messages, what else would help.

    Raises:
        ConfigurationError: `function` is a coroutine function, and nothing can await it.
    """

    __slots__ = ("_function", "_is_async", "_name")

    def __init__(
        self,
        name: str,
        function: Callable[..., Any] | None,
        *,
        awaits: bool,
        also: str = "",
    ) -> None:
        self._is_async = function is not None and _is_coroutine_function(function)
        if self._is_async and not awaits:
            raise ConfigurationError(
                f"{name}={function!r} is a coroutine function, and nothing here can await it: "
                f"pass a plain function{also}"
            )
        self._name = name
        self._function = function

    def call(self, span: Span, *given: Any) -> None:
        """Call the hook for a request, unless a coroutine function."""
        if self._function is None or self._is_async:
            return
        if span.is_recording():
            call_contained(self._name, self._function, span, *given)

    async def call_async(self, span: Span, *given: Any) -> None:
        """Call the hook for a request of an asynchronous client, and await an awaitable result."""
        if self._function is None or not span.is_recording():
            return
        try:
            result = self._function(span, *given)
            if inspect.isawaitable(result):
                await result
        except Exception:  # noqa: BLE001 - a hook may raise anything
            log_failure(self._name)


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object's, with an async one
    )
