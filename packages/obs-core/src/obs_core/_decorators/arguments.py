"""Arguments of a call as span attributes: the requested arguments, masked and bounded, on recording spans."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import islice
from typing import Any

from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from obs_core._config.in_force import redactor
from obs_core._safety.containment import call_contained
from obs_core._safety.redaction import REDACTED, Redactor
from obs_core._safety.text import exportable, truncate
from obs_core.exceptions import ConfigurationError

PREFIX = "obs.args."
MAX_BYTES = 1024
MAX_ITEMS = 32
MAX_DEPTH = 4
MAX_INT = 2**63

Serialize = Callable[[object], "AttributeValue | None"]


class ArgumentCapture:
    """Sets ``obs.args.<name>`` for each of `names` that a call binds, defaults included.

    Args:
        function: The callable with the parameters.
        names: The allow list: parameters of `function`, or keys of ``**kwargs``.
        serialize: Converts a value to an attribute; None leaves the argument out. Default: scalars and short sequences of
            scalars unchanged, other values by ``repr``.

    Raises:
        ConfigurationError: `names` is a single string, or has a name that is no parameter of `function`.

    Values of names on the deny list become ``[REDACTED]``, also inside mappings and dataclasses; text is cut at 1,024
    bytes. Thread-safe: without state.
    """

    __slots__ = ("_catch_all", "_names", "_serialize", "_signature")

    def __init__(
        self,
        function: Callable[..., Any],
        names: Iterable[str],
        serialize: Serialize | None = None,
    ) -> None:
        self._names = _checked_names(names)
        self._serialize = serialize
        self._signature = _signature(function)
        self._catch_all = _name_of_kwargs(self._signature)
        unknown = [
            name for name in self._names if name not in self._signature.parameters
        ]
        if unknown and self._catch_all is None:
            raise ConfigurationError(
                f"capture_args names {unknown[0]!r}, which is no parameter: name some of {self._signature}"
            )

    def __call__(
        self, span: Span, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Set the attributes; a value that cannot be serialized is left out."""
        bound = self.bind(args, kwargs)
        for name in self._names:
            if name not in bound:
                continue
            what = f"serializing the argument {name!r}"
            value = call_contained(what, self._attribute, name, bound[name])
            if value is not None:
                span.set_attribute(PREFIX + name, value)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return name → value of a call, ``**kwargs`` spread; empty for a call that does not fit the signature."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError:
            return {}
        bound.apply_defaults()
        return {**bound.arguments.get(self._catch_all or "", {}), **bound.arguments}

    def _attribute(self, name: str, value: object) -> AttributeValue | None:
        secrets = redactor()
        if secrets.is_sensitive(name):
            return REDACTED
        if self._serialize is not None:
            return attribute_value(self._serialize(value))
        return attribute_value(_shown(name, value, secrets, 0))


def _checked_names(names: Iterable[object]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise ConfigurationError(
            f"capture_args={names!r} is one string: write capture_args=({names!r},)"
        )
    for name in (names := tuple(names)):
        if not isinstance(name, str):
            raise ConfigurationError(
                f"capture_args has {name!r}: name the parameters as strings"
            )
    return tuple(str(name) for name in names)


def _name_of_kwargs(signature: inspect.Signature) -> str | None:
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            return parameter.name
    return None


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"capture_args cannot be used on {function!r}, whose signature is unknown: leave it out"
        ) from error


def attribute_value(value: object) -> AttributeValue | None:
    """Return `value` as something that every OpenTelemetry version can export, bounded."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int) and not _is_too_big(value):
        return value
    if isinstance(value, str):
        return truncate(exportable(value), MAX_BYTES)
    if isinstance(value, (list, tuple)) and _is_uniform(value):
        return [attribute_value(item) for item in value]
    return truncate(exportable(repr(value)), MAX_BYTES)


def _is_uniform(values: Sequence[object]) -> bool:
    kind = type(values[0]) if values else str
    return kind in (str, bool, int, float) and all(
        type(value) is kind and not _is_too_big(value) for value in values
    )


def _is_too_big(value: object) -> bool:
    return (
        isinstance(value, int) and not -MAX_INT <= value < MAX_INT
    )  # OTLP has 64 bits


def _shown(name: str, value: object, secrets: Redactor, depth: int) -> object:
    """Return `value` with secrets masked and containers cut at 32 items and four levels."""
    if secrets.is_sensitive(name):
        return REDACTED
    if isinstance(value, str):
        return _shown_text(value, secrets)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = _shown_fields(value)
    if not isinstance(value, (Mapping, list, tuple, Set)):
        return value
    if depth == MAX_DEPTH:
        return "…"
    return _shown_items(name, value, secrets, depth + 1)


def _shown_text(text: str, secrets: Redactor) -> str:
    if "://" in text[:MAX_BYTES]:
        return secrets.url(text)
    return text[: MAX_BYTES + 1]


def _shown_fields(value: Any) -> dict[str, object]:
    """Return the fields of a dataclass, without those that its author left out of ``repr``."""
    fields = (field.name for field in dataclasses.fields(value) if field.repr)
    return {name: getattr(value, name) for name in fields}


def _shown_items(
    name: str,
    items: Mapping[Any, object] | Iterable[object],
    secrets: Redactor,
    depth: int,
) -> object:
    if isinstance(items, Mapping):
        first = islice(items.items(), MAX_ITEMS)
        return {key: _shown(str(key), item, secrets, depth) for key, item in first}
    return [_shown(name, item, secrets, depth) for item in islice(items, MAX_ITEMS)]
