"""Attribute names of former conventions, and the variable that asks for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.util.types import AttributeValue

_VARIABLE = "OTEL_SEMCONV_STABILITY_OPT_IN"
Convert = Callable[[Any], AttributeValue]


def semconv_opt_in() -> frozenset[str]:
    """The words of ``OTEL_SEMCONV_STABILITY_OPT_IN`` at present, for instance ``{"http", "database/dup"}``."""
    return frozenset(word.strip() for word in os.environ.get(_VARIABLE, "").split(","))


def stable_semconv() -> None:
    """Opt contrib's instrumentations in to the stable HTTP and database names, unless the user set the variable.

    Contrib reads ``OTEL_SEMCONV_STABILITY_OPT_IN`` from the environment at the first ``instrument()``; call this before.
    Redis and SQLAlchemy need ``http`` as well for ``server.*`` in place of ``net.*``.
    """
    os.environ.setdefault(_VARIABLE, "http,database")


class FormerNames:
    """The former names of attributes, recorded in addition where the environment asks for both. Immutable.

    Args:
        opt_in: The word that asks for both, for instance ``"database/dup"``.
        names: Stable name → former name, or several.
        values: Former name → a function that returns the former value, where the value has changed too.
    """

    __slots__ = ("_opt_in", "_values", "names")

    def __init__(
        self,
        opt_in: str,
        names: Mapping[str, str | tuple[str, ...]],
        values: Mapping[str, Convert] | None = None,
    ) -> None:
        self._opt_in = opt_in
        #: Stable name → former names.
        self.names: Mapping[str, tuple[str, ...]] = {
            stable: _several(former) for stable, former in names.items()
        }
        self._values = values or {}

    def in_force(self) -> FormerNames:
        """These names, or none, as the environment says at present."""
        return self if self._opt_in in semconv_opt_in() else NO_FORMER_NAMES

    def of(self, attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
        """Return the former names of `attributes` with their values; the attributes themselves are left out."""
        if not self.names:
            return {}
        return {
            former: self._value(former, value)
            for stable, value in attributes.items()
            for former in self.names.get(stable, ())
        }

    def added_to(
        self, attributes: dict[str, AttributeValue]
    ) -> dict[str, AttributeValue]:
        """Return `attributes` with the former names in addition; the same object where there are none."""
        if not self.names:
            return attributes
        return {**attributes, **self.of(attributes)}

    def _value(self, former: str, value: AttributeValue) -> AttributeValue:
        if convert := self._values.get(former):
            return convert(value)
        return value

    def __bool__(self) -> bool:
        return bool(self.names)


def _several(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


#: For where the environment asks for the stable names alone.
NO_FORMER_NAMES = FormerNames("", {})
