"""Read HTTP headers of an ASGI scope, and record captured headers on a span."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from obs_core.integration import REDACTED, Globs, check_names, option_error, redactor
from opentelemetry.propagators.textmap import Getter

from obs_http._environment import captured_headers, sanitized_fields

RawHeaders = Iterable[tuple[bytes, bytes]]
MAX_VALUE_CHARACTERS = 1024


def text(raw: bytes) -> str:
    """Decode a header's name or value; every byte sequence is valid."""
    return raw.decode("latin-1")


def by_name(headers: RawHeaders, wanted: Mapping[bytes, str]) -> dict[str, list[str]]:
    """Return the values of the `wanted` headers by name; ASGI has the names in lower case."""
    found: dict[str, list[str]] = {}
    for raw, value in headers:
        if raw in wanted:
            found.setdefault(wanted[raw], []).append(value.decode("latin-1"))
    return found


def first_by_name(headers: RawHeaders) -> dict[str, str]:
    """Return the first value of every header by its lower-case name."""
    return {text(name).lower(): text(value) for name, value in reversed([*headers])}


class CarrierGetter(Getter[Mapping[str, list[str]]]):
    """Reads a mapping of lower-case names to lists of values, for propagators."""

    def get(self, carrier: Mapping[str, list[str]], key: str) -> list[str] | None:
        """Return the values of `key`, or None."""
        return carrier.get(key.lower())

    def keys(self, carrier: Mapping[str, list[str]]) -> list[str]:
        """Return the names."""
        return list(carrier)


def header_names(option: str, patterns: Sequence[str]) -> tuple[str, ...]:
    """Return header names and globs in lower case; raise `ConfigurationError` unless `patterns` is a list of them."""
    names = check_names(option, patterns, example="x-*")
    if not all(map(str.strip, names)):
        raise option_error(option, patterns, "leave out the empty name")
    return tuple(name.strip().lower() for name in names)


class HeaderCapture:
    """Records headers that match names and globs on a span; secrets are masked.

    Args:
        side: ``server`` or ``client``.
        message: ``request`` or ``response``.
        patterns: Names and globs (``"x-*"``), without regard to case; None: the standard variable's patterns.
        redact: Secret globs in addition to the set-up's; masking wins over every pattern, as does the standard
            variable.

    Raises:
        ConfigurationError: A pattern is not a header name or glob.
    """

    __slots__ = ("_keys", "_matches", "_prefix", "_redact", "_sanitized")

    def __init__(
        self,
        side: str,
        message: str,
        patterns: Sequence[str] | None,
        redact: tuple[str, ...],
    ) -> None:
        self._matches: Callable[[str], object] | None = None
        if patterns is None:
            expression = captured_headers(f"{side}_{message}".upper())
            self._matches = expression and expression.fullmatch
        elif names := header_names(f"capture_{message}_headers", patterns):
            self._matches = Globs(names).matches
        self._sanitized = sanitized_fields()
        self._prefix = f"http.{message}.header."
        self._redact = redact
        self._keys: dict[bytes, str | None] = {}

    def __bool__(self) -> bool:
        return self._matches is not None

    def _key(self, name: bytes) -> str | None:
        try:
            return self._keys[name]
        except KeyError:
            key = self._decide(text(name).lower())
            # clients choose the names, so the cache is bounded
            if len(self._keys) < 512:
                self._keys[name] = key
            return key

    def _decide(self, name: str) -> str | None:
        if self._matches is None or not self._matches(name):
            return None
        return self._prefix + name

    def attributes(self, headers: RawHeaders) -> dict[str, list[str]]:
        """Return the attributes of captured `headers`."""
        found: dict[str, list[str]] = {}
        for name, value in headers:
            key = self._key(name)
            if key is not None:
                found.setdefault(key, []).append(self._masked(key, value))
        return found

    def _masked(self, key: str, value: bytes) -> str:
        if self._is_secret(key.removeprefix(self._prefix)):
            return REDACTED
        return text(value)[:MAX_VALUE_CHARACTERS]

    def _is_secret(self, name: str) -> bool:
        if self._sanitized is not None and self._sanitized.search(name):
            return True
        return redactor(self._redact).is_sensitive(name)
