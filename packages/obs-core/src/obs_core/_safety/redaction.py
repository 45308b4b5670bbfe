"""Mask secrets by name: a deny list that is stronger than any allow list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit, urlunsplit

REDACTED = "[REDACTED]"

#: Names (header, argument, attribute or query parameter) whose values are secret, as globs without regard to case,
#: where ``-``, ``_`` and no separator are the same.
DENIED = (
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "*token*",
    "*secret*",
    "*passwd*",
    "*password*",
    "*api-key*",
    "*private-key*",
    "*access-key*",
    "*credential*",
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
)
#: Query parameters of signed URLs: AWS, Google Cloud and Azure storage.
SIGNED_URL_PARAMETERS = (
    "awsaccesskeyid",
    "signature",
    "sig",
    "x-goog-signature",
    "x-goog-credential",
)
#: Ends of names for a number of tokens, without separators.
_TOKEN_COUNTS = re.compile(
    r".*(?:(?:input|output|max|total|prompt|completion|cached|reasoning)tokens|tokencount|tokenstotal)"
)


def _plain(name: str) -> str:
    return re.sub(r"[-_.\s]", "", name).lower()


@lru_cache(maxsize=16)
def _compile(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(_plain(glob)) for glob in globs))


class Redactor:
    """Decides by name whether a value is secret, and masks secrets.

    Args:
        extra: Secret globs in addition to the built-in globs, which cannot be taken out.

    Thread-safe; answers for the latest 1,024 names are cached.
    """

    __slots__ = ("_globs", "_globs_but_tokens", "_is_sensitive")

    def __init__(self, extra: Iterable[str] = ()) -> None:
        self._globs = (*DENIED, *SIGNED_URL_PARAMETERS, *extra)
        self._globs_but_tokens = tuple(
            glob for glob in self._globs if glob != "*token*"
        )
        self._is_sensitive = lru_cache(maxsize=1024)(self._decide)

    def _decide(self, name: str) -> bool:
        plain = _plain(name)
        globs = self._globs
        if _TOKEN_COUNTS.fullmatch(plain):
            globs = self._globs_but_tokens
        return _compile(globs).match(plain) is not None

    def is_sensitive(self, name: str) -> bool:
        """Whether the value with this name must not be exported."""
        return self._is_sensitive(name)

    def value(self, name: str, value: object) -> object:
        """Return `value`, or ``[REDACTED]`` when `name` is sensitive; mappings and sequences are searched through."""
        if self.is_sensitive(name):
            return REDACTED
        if isinstance(value, Mapping):
            return {key: self.value(str(key), inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(name, inner) for inner in value]
        return value

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return a copy of `headers` with sensitive values masked."""
        return {name: self._header(name, value) for name, value in headers.items()}

    def _header(self, name: str, value: str) -> str:
        if self.is_sensitive(name):
            return REDACTED
        return value

    def query(self, query: str) -> str:
        """Mask the sensitive parameters of a URL's query string; everything else stays byte for byte."""
        return "&".join(map(self._pair, query.split("&")))

    def _pair(self, pair: str) -> str:
        name, equals, _ = pair.partition("=")
        if equals and self.is_sensitive(unquote(name)):
            return f"{name}={quote(REDACTED, safe='[]')}"
        return pair

    def url(self, url: str) -> str:
        """Mask user, password and the sensitive parameters of query and fragment; text that is no URL is masked whole."""
        if "://" not in url:
            return self._masked(f"//{url}").removeprefix("//")
        return self._masked(url)

    def _masked(self, url: str) -> str:
        try:
            parts = urlsplit(url)
        except ValueError:
            return REDACTED
        _, at, host = parts.netloc.rpartition("@")
        query, fragment = self.query(parts.query), self.query(parts.fragment)
        credentials = "REDACTED:REDACTED@" if at else ""
        return urlunsplit(
            parts._replace(netloc=credentials + host, query=query, fragment=fragment)
        )
