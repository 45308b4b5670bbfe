"""Instrument a library or target once, and undo exactly that."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import fields
from typing import Any

from obs_core.exceptions import AlreadyConfiguredError

Undo = Callable[[], None]
Options = Mapping[str, object]
_NO_OPTIONS: Options = {}


class InstrumentationHandle:
    """The handle that `instrument_x` returns, to undo the instrumentation.

    Thread-safe. `uninstrument` may be called any number of times; the first call undoes.
    """

    __slots__ = ("__weakref__", "_lock", "_options", "_undo", "name")

    def __init__(self, name: str, undo: Undo, options: Options = _NO_OPTIONS) -> None:
        self.name: str = name
        self._options = options
        self._undo: Undo | None = undo
        self._lock = threading.Lock()

    @property
    def is_active(self) -> bool:
        """Whether the instrumentation is still in place."""
        return self._undo is not None

    def check_options(self, options: Options, defaults: Options) -> None:
        """Raise `AlreadyConfiguredError` where `options` other than the `defaults` differ from those in place."""
        given = {name for name, value in options.items() if value != defaults.get(name)}
        changed = sorted(
            name for name in given if options[name] != self._options.get(name)
        )
        if changed:
            raise AlreadyConfiguredError(
                f"{self.name} is instrumented already, with another {', '.join(changed)}: "
                "give all options in one call, or uninstrument first"
            )

    def uninstrument(self) -> None:
        """Restore the library to the state before."""
        with self._lock:
            undo, self._undo = self._undo, None
        if undo is not None:
            undo()

    def __repr__(self) -> str:
        return f"<InstrumentationHandle {self.name} {'active' if self.is_active else 'removed'}>"


class _Registry:
    """The active handles by (name, target); targets are referenced weakly where their type allows."""

    def __init__(self) -> None:
        self._handles: dict[tuple[str, Hashable], InstrumentationHandle] = {}
        self._lock = threading.RLock()

    def instrument(
        self,
        name: str,
        target: object | None,
        install: Callable[[], Undo],
        options: Options,
        defaults: Options,
    ) -> InstrumentationHandle:
        key = _key(name, target)
        with self._lock:
            present = self._handles.get(key)
            if present is not None and present.is_active:
                present.check_options(options, defaults)
                return present
            handle = InstrumentationHandle(name, self._undo(key, install()), options)
            self._handles[key] = handle
        self._forget_with(target, key)
        return handle

    def _undo(self, key: tuple[str, Hashable], undo: Undo) -> Undo:
        def forget_and_undo() -> None:
            self._forget(key)
            undo()

        return forget_and_undo

    def _forget_with(self, target: object | None, key: tuple[str, Hashable]) -> None:
        if target is not None:
            with suppress(TypeError):
                weakref.finalize(target, self._forget, key).atexit = False

    def _forget(self, key: tuple[str, Hashable]) -> None:
        with self._lock:
            self._handles.pop(key, None)

    def uninstrument(self, name: str, target: object | None) -> None:
        handle = self._handles.get(_key(name, target))
        if handle is not None:
            handle.uninstrument()

    def active(self) -> list[str]:
        with self._lock:
            return sorted(
                {handle.name for handle in self._handles.values() if handle.is_active}
            )


def _key(name: str, target: object | None) -> tuple[str, Hashable]:
    return name, None if target is None else id(target)


_registry = _Registry()


def instrument_once(
    name: str,
    install: Callable[[], Undo],
    *,
    target: object | None = None,
    options: object = _NO_OPTIONS,
    defaults: object = _NO_OPTIONS,
) -> InstrumentationHandle:
    """Run `install` unless `name` is already instrumented for `target`; return the handle.

    Args:
        name: The instrumentation, for instance ``"celery"``.
        install: Patches or connects, and returns a callable that undoes exactly that. An exception passes through and
            leaves nothing registered.
        target: The instrumented object (an engine, a client), which is not kept alive. Default: all of the library.
        options: The caller's options, to compare with those of an earlier call: a mapping by name, or a dataclass, of whose
            fields those with ``compare=False`` are left out.
        defaults: The options of a call without any, in the same form: left at its default, an option contradicts no earlier
            call. For instance ``instrument_x.__kwdefaults__``, or ``Options()``.

    Raises:
        AlreadyConfiguredError: The target is instrumented already, with other `options`.
    """
    return _registry.instrument(
        name, target, install, _by_name(options), _by_name(defaults)
    )


def _by_name(options: Any) -> Options:
    if isinstance(options, Mapping):
        return options
    return {
        each.name: getattr(options, each.name)
        for each in fields(options)
        if each.compare
    }


def uninstrument(name: str, *, target: object | None = None) -> None:
    """Undo `instrument_once` for `name` and `target`; without effect if not instrumented."""
    _registry.uninstrument(name, target)


def active_instrumentations() -> list[str]:
    """The sorted names of all instrumentations in place in this process."""
    return _registry.active()
