"""Instrument a target once; say so where a second call asks for something else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from obs_core.integration import InstrumentationHandle, instrument_once

_logger = logging.getLogger("obs_http")
_given: WeakKeyDictionary[InstrumentationHandle, Mapping[str, Any]] = WeakKeyDictionary()


def instrument(
    name: str,
    install: Callable[[], Callable[[], None]],
    target: object | None,
    options: Mapping[str, Any],
) -> InstrumentationHandle:
    """Call `install` unless `target` is instrumented; warn where it is, with other options, which stay as they are."""
    handle = instrument_once(name, install, target=target)
    first = _given.setdefault(handle, options)
    others = [option for option in options if options[option] != first[option]]
    if others:
        _logger.warning(
            "instrument_%s has been called before with another %s, which stays in force: "
            "call uninstrument_%s first, or leave out one of the calls",
            name,
            ", ".join(others),
            name,
        )
    return handle
