"""The context in which all steps of a generator run."""

from __future__ import annotations

import contextvars
import types
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from opentelemetry.context import Context, attach

P = ParamSpec("P")
R = TypeVar("R")
Run = Callable[..., Any]
Tokens = dict[contextvars.ContextVar[Any], contextvars.Token[Any]]

_UNKNOWN = object()


def _telemetry_variables() -> frozenset[contextvars.ContextVar[Any]]:
    probe = contextvars.Context()
    probe.run(attach, Context())
    return frozenset(probe)


_TELEMETRY = _telemetry_variables()


class StepContext:
    """The `contextvars.Context` of all steps of a generator, in any thread or task.

    OpenTelemetry's variables belong to this context alone: tokens fit, and the consumer's context stays clean. Every other
    variable is shared with the consumer in both directions, as in an untraced generator: a library that sets a variable
    before ``yield`` works the same, sampled or not. Not thread-safe, like any generator.
    """

    __slots__ = ("_context", "_inner_tokens", "_known", "_outer_tokens")

    def __init__(self, context: Context) -> None:
        self._context = contextvars.Context()
        self._context.run(attach, context)
        self._known: dict[contextvars.ContextVar[Any], object] = {}
        self._inner_tokens: Tokens = {}
        self._outer_tokens: Tokens = {}

    def run(self, step: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `step` in the context."""
        self.take_over()
        try:
            return self._context.run(step, *args, **kwargs)
        finally:
            self.hand_back()

    @types.coroutine
    def run_async(self, step: Callable[[], Awaitable[R]]) -> Generator[Any, Any, R]:
        """Await the result of `step` in the context.

        An awaited object may suspend several times. Each resumption has to enter the context anew, so this is the loop of
        ``await``, written out.
        """
        self.take_over()
        try:
            run = self._context.run
            running = run(lambda: step().__await__())
            sent, error = None, None
            while True:
                wanted = run(_resume, running, sent, error)
                sent, error = None, None
                try:
                    sent = yield wanted
                except BaseException as thrown:  # noqa: BLE001 - any exception goes to the awaited object
                    error = thrown
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            self.hand_back()

    def take_over(self) -> None:
        """Bring in the variables that the consumer changed since the last step."""
        self._carry(contextvars.copy_context(), self._context.run, self._inner_tokens)

    def hand_back(self) -> None:
        """Bring out the variables that the step changed."""
        self._carry(
            self._context, lambda change, value: change(value), self._outer_tokens
        )

    def _carry(self, source: contextvars.Context, run: Run, tokens: Tokens) -> None:
        known = self._known
        for variable, value in source.items():
            if (
                known.get(variable, _UNKNOWN) is not value
                and variable not in _TELEMETRY
            ):
                token = run(variable.set, value)
                if variable not in known:
                    tokens[variable] = token
                known[variable] = value
        for variable in [variable for variable in known if variable not in source]:
            del known[variable]
            if variable in tokens:
                _reset(run, variable, tokens.pop(variable))


def _resume(running: Any, sent: object, error: BaseException | None) -> Any:
    if error is None:
        return running.send(sent)
    return running.throw(error)


def _reset(
    run: Run, variable: contextvars.ContextVar[Any], token: contextvars.Token[Any]
) -> None:
    # ValueError: the token is of another consumer's context, which never had the value
    with suppress(ValueError):
        run(variable.reset, token)
