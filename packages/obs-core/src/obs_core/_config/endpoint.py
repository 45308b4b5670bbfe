"""The address of the collector, in every way that people write it."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

from obs_core.exceptions import ConfigurationError

Protocol = Literal["grpc", "http"]

GRPC_PORT, HTTP_PORT, TRACES_PATH = 4317, 4318, "/v1/traces"
DEFAULT_URL = "http://localhost:4317"
_DEFAULT_PORT: dict[Protocol, int] = {"grpc": GRPC_PORT, "http": HTTP_PORT}
_OTHERS_PORT: dict[Protocol, int] = {"grpc": HTTP_PORT, "http": GRPC_PORT}


class Endpoint(NamedTuple):
    """A collector's address in the exporters' form.

    Attributes:
        protocol: ``"grpc"`` or ``"http"`` (OTLP over HTTP with protobuf).
        target: ``host:port`` for grpc, the whole URL with path for http.
        insecure: No TLS.
    """

    protocol: Protocol
    target: str
    insecure: bool


def parse_endpoint(
    url: str, protocol: Protocol | None = None, *, path_is_whole: bool = False
) -> Endpoint:
    """Parse `url` into an `Endpoint`.

    ``host:4317`` means plain text. A missing port is the protocol's default (443 under https). Without `protocol`, port
    4318 or a path means http, everything else grpc. For http, ``/v1/traces`` is appended unless the path ends so already,
    or `path_is_whole` and `url` has a path. Doubled slashes in the path are collapsed.

    Raises:
        ConfigurationError: `url` is not a URL of a collector, or contradicts `protocol`; the message says the fix.
    """
    parts = _split(url)
    # "http://host:4318/" with "/v1/traces" put behind it: collectors redirect or refuse a doubled slash
    port, path = _port(parts, url), re.sub("/{2,}", "/", parts.path).rstrip("/")
    chosen = protocol or ("http" if port == HTTP_PORT or path else "grpc")
    _check_agreement(url, protocol, chosen, port, path)
    insecure = parts.scheme == "http"
    port = port or (_DEFAULT_PORT[chosen] if insecure else 443)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    if chosen == "grpc":
        return Endpoint("grpc", f"{host}:{port}", insecure)
    userinfo = parts.netloc.rpartition("@")[0]
    netloc = f"{userinfo}@{host}:{port}" if userinfo else f"{host}:{port}"
    full_path = (
        path if path.endswith(TRACES_PATH) or (path and path_is_whole) else path + TRACES_PATH
    )
    return Endpoint(
        "http", parts._replace(netloc=netloc, path=full_path, fragment="").geturl(), insecure
    )


def _split(url: str) -> SplitResult:
    text = url.strip()
    if any(character.isspace() or not character.isprintable() for character in text):
        raise _error(url, "has white space or control characters in it")
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
    except ValueError as error:
        raise _error(url, f"is not a URL ({error})") from None
    if parts.scheme not in ("http", "https"):
        raise _error(
            url,
            f"has scheme {parts.scheme!r}: use http:// (plain text) or https:// (TLS), for grpc too",
        )
    if not parts.hostname:
        raise _error(url, "names no host")
    return parts


def _port(parts: SplitResult, url: str) -> int | None:
    try:
        port = parts.port
    except ValueError:
        raise _error(url, "has a port that is no number from 1 to 65535") from None
    if port == 0:
        raise _error(url, "has port 0: use the collector's own (4317 for grpc, 4318 for http)")
    return port


def _check_agreement(
    url: str, asked: Protocol | None, chosen: Protocol, port: int | None, path: str
) -> None:
    other: Protocol = "http" if chosen == "grpc" else "grpc"
    why = f"collector_protocol is {asked!r}" if asked else f"its path {path!r} means http"
    if port == _OTHERS_PORT[chosen]:
        fix = f"use port {_DEFAULT_PORT[chosen]}, or " + (
            f"collector_protocol={other!r}" if asked else "drop the path"
        )
        raise _error(url, f"has the {other} port {port}, but {why}: {fix}")
    if chosen == "grpc" and path:
        raise _error(
            url,
            f"has the path {path!r}, but {why}: drop the path, or use collector_protocol='http'",
        )


def _error(url: str, problem: str) -> ConfigurationError:
    from obs_core._safety.redaction import Redactor

    return ConfigurationError(
        f"collector_url {Redactor().url(url)!r} {problem}, for instance {DEFAULT_URL!r}"
    )
