"""Instrument a target once; a second call without any option takes what is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from obs_core.exceptions import AlreadyConfiguredError
from obs_core.integration import InstrumentationHandle, instrument_once


def instrument(
    name: str,
    install: Callable[[], Callable[[], None]],
    target: object | None,
    options: Mapping[str, Any],
    defaults: Mapping[str, Any] | None,
) -> InstrumentationHandle:
    """Call `install` unless `target` is instrumented; return the handle.

    Args:
        name: The instrumentation.
        install: See `instrument_once`.
        target: See `instrument_once`.
        options: The caller's.
        defaults: The options of a call that says nothing, as ``instrument="auto"`` does: it contradicts nobody.

    Raises:
        AlreadyConfiguredError: It is instrumented, with other options.
    """
    try:
        return instrument_once(name, install, target=target, options=options)
    except AlreadyConfiguredError:
        if options != defaults:
            raise
        return instrument_once(name, install, target=target)
