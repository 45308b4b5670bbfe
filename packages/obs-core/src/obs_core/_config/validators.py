"""Checks by kind of setting: return the value in final form, or raise."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from obs_core._config.endpoint import Protocol
from obs_core._safety.text import exportable
from obs_core.exceptions import ConfigurationError

T = TypeVar("T")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PROTOCOLS: Mapping[str, Protocol] = {
    "grpc": "grpc",
    "http": "http",
    "http/protobuf": "http",
}


def error(name: str, value: object, fix: str) -> ConfigurationError:
    """Build the error: the setting, the value, the fix."""
    return ConfigurationError(f"{name}={value!r} is not valid: {fix}")


def text(name: str, value: object) -> str:
    """A string that is not empty, of valid Unicode (bytes of another encoding give lone surrogates)."""
    if not isinstance(value, str) or not value.strip():
        raise error(name, value, "give a string that is not empty")
    if exportable(value) != value:
        raise error(name, value, "give text that has UTF-8")
    return value.strip()


def boolean(name: str, value: object) -> bool:
    """A bool, nothing that merely looks true."""
    if not isinstance(value, bool):
        raise error(name, value, "give True or False")
    return value


def _number(name: str, value: object, fix: str) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
    ):
        raise error(name, value, fix)
    return float(value)


def rate(name: str, value: object) -> float:
    """A share from 0 to 1."""
    fix = "give a number from 0 to 1, for instance 0.1 for one trace in ten"
    number = _number(name, value, fix)
    if not 0 <= number <= 1:
        raise error(name, value, fix)
    return number


def seconds(name: str, value: object) -> float:
    """A duration in seconds, zero allowed."""
    fix = "give a number of seconds, 0 or more"
    number = _number(name, value, fix)
    if number < 0:
        raise error(name, value, fix)
    return number


def positive_seconds(name: str, value: object) -> float:
    """A duration in seconds, more than zero."""
    number = _number(name, value, "give a number of seconds above 0")
    if number <= 0:
        raise error(name, value, "give a number of seconds above 0")
    return number


def positive_integer(name: str, value: object) -> int:
    """A count of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise error(name, value, "give a whole number, 1 or more")
    return value


def path(name: str, value: object) -> Path:
    """An absolute path: the process may change the working directory."""
    if not isinstance(value, (str, os.PathLike)) or not str(value):
        raise error(name, value, "give the path of a directory")
    return Path(value).absolute()


def make_writable(name: str, directory: Path) -> None:
    """Make the directory, private to this user, if missing; raise when this process cannot write to the directory."""
    shown = str(directory)
    if os.name != "posix":
        fix = "it needs POSIX file locks, which this system does not have: leave it out"
        raise error(name, shown, fix)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as wrong:
        fix = f"it cannot be made ({wrong}): give a local directory"
        raise error(name, shown, fix) from None
    if not os.access(directory, os.W_OK | os.X_OK):
        fix = "this process may not write there: give a local directory that it owns"
        raise error(name, shown, fix)


def protocol(name: str, value: object) -> Protocol:
    """``grpc`` or ``http`` (``http/protobuf`` is the same)."""
    written = value.strip().lower() if isinstance(value, str) else ""
    if written not in _PROTOCOLS:
        raise error(name, value, "use 'grpc' or 'http' (OTLP over HTTP with protobuf)")
    return _PROTOCOLS[written]


def backend(name: str, value: object) -> str:
    """A backend whose panes read other attributes than the stable ones, or ``none``."""
    written = value.strip().lower() if isinstance(value, str) else ""
    if written not in ("signoz", "none"):
        raise error(name, value, "use 'signoz', or 'none' for every other backend")
    return written


def header_names(name: str, value: object) -> tuple[str, ...]:
    """At least one HTTP header name."""
    names = _strings(
        name, value, "give a list of header names, for instance ['X-Correlation-ID']"
    )
    for item in names:
        if not _TOKEN.fullmatch(item):
            raise error(
                name, item, "a header name is made of letters, digits and hyphens"
            )
    if not names:
        raise error(name, value, "give at least one header name")
    return names


def globs(name: str, value: object) -> tuple[str, ...]:
    """Name patterns."""
    patterns = _strings(
        name, value, "give a list of name patterns, for instance ['*ssn*']"
    )
    if any(not pattern.strip("*? ") for pattern in patterns):
        raise error(
            name,
            value,
            "a pattern of wildcards alone would mask everything; name what is secret",
        )
    return patterns


def _strings(name: str, value: object, fix: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(
        value, Collection
    ):  # an iterator may never end
        raise error(name, value, fix)
    if not all(isinstance(item, str) and item.strip() for item in value):
        raise error(name, value, fix)
    return tuple(item.strip() for item in value)


def headers(name: str, value: object) -> dict[str, str]:
    """Headers of the export. Messages show no value, and no malformed name, which may hold a value."""
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            f"{name} is not valid: give a mapping, for instance {{'x-key': '…'}}"
        )
    for number, (key, content) in enumerate(value.items(), 1):
        if not isinstance(key, str) or not _TOKEN.fullmatch(key):
            raise ConfigurationError(
                f"{name}: header {number} is not valid: "
                "a header name is made of letters, digits and hyphens"
            )
        if (
            not isinstance(content, str)
            or not content.isascii()
            or not content.isprintable()
        ):
            raise ConfigurationError(
                f"{name}[{key!r}] is not valid: the value must be one line of printable ASCII text"
            )
    return {key.lower(): content.strip() for key, content in value.items()}


def attributes(name: str, value: object) -> dict[str, Any]:
    """Attributes of the resource."""
    if not isinstance(value, Mapping):
        raise error(name, value, "give a mapping, for instance {'team': 'payments'}")
    for key, content in value.items():
        if not _is_name(key):
            raise error(
                name, key, "give each attribute a name: a string that is not empty"
            )
        if not _is_attribute_value(content):
            raise error(
                f"{name}[{key!r}]",
                content,
                "give a string, number, bool, or a list of one of them",
            )
    return dict(value)


def _is_name(key: object) -> bool:
    return isinstance(key, str) and key != "" and exportable(key) == key


def _is_attribute_value(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        is_uniform = len(set(map(type, value))) <= 1
        return is_uniform and all(map(_is_scalar, value))
    return _is_scalar(value)


def _is_scalar(value: object) -> bool:
    if isinstance(value, str):
        return exportable(value) == value
    return isinstance(value, (bool, int, float))


def instance(cls: type[T]) -> Callable[[str, object], T]:
    """A check for an instance of `cls`."""

    def check(name: str, value: object) -> T:
        if not isinstance(value, cls):
            raise error(name, value, f"give a {cls.__name__}(…)")
        return value

    return check
