"""Checks of the decorators' options, at decoration."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from obs_core.exceptions import ConfigurationError

_SCALARS = (str, bool, int, float, bytes)


def check_name(option: str, name: object, *, optional: bool = False) -> None:
    """Raise unless `name` is text, or None where `optional`."""
    if (isinstance(name, str) and name) or (optional and name is None):
        return
    fix = "give a non-empty string" + ", or leave it out" * optional
    raise ConfigurationError(f"{option}={name!r} is no name: {fix}")


def check_kind(kind: object) -> None:
    """Raise unless `kind` is a span kind."""
    if not isinstance(kind, SpanKind):
        raise ConfigurationError(
            f"kind={kind!r} is no span kind: give a member of opentelemetry.trace.SpanKind"
        )


def check_attributes(attributes: object) -> dict[str, AttributeValue]:
    """Return `attributes` without None values.

    Raises:
        ConfigurationError: A key is empty or no string, or a value is of no type that OpenTelemetry accepts.
    """
    if attributes is None:
        return {}
    if not isinstance(attributes, Mapping):
        raise ConfigurationError(
            f"attributes={attributes!r} is no mapping: give a dict of names and values"
        )
    kept = {key: value for key, value in attributes.items() if value is not None}
    for key, value in kept.items():
        if not isinstance(key, str) or not key:
            raise ConfigurationError(
                f"attributes has the key {key!r}: keys are non-empty strings"
            )
        if not _is_attribute(value):
            fix = "give str, bool, int, float, bytes or a sequence of one of these"
            raise ConfigurationError(f"attributes[{key!r}] is {value!r}: {fix}")
    return kept


def _is_attribute(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(isinstance(item, _SCALARS) for item in value)
    return isinstance(value, _SCALARS)


def checked_expected(expected: object) -> tuple[type[BaseException], ...]:
    """Return `expected` as a tuple; raise unless all are exception classes."""
    classes: tuple[object, ...] = (expected,)
    if isinstance(expected, tuple):
        classes = expected
    return tuple(map(_exception_class, classes))


def _exception_class(cls: object) -> type[BaseException]:
    if isinstance(cls, type) and issubclass(cls, BaseException):
        return cls
    raise ConfigurationError(f"expected has {cls!r}: give exception classes")
