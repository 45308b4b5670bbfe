"""The address of the collector, in every way that people write it."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import SplitResult, urlsplit

from obs_core.exceptions import ConfigurationError

Protocol = Literal["grpc", "http"]
#: What is exported: each has a path of its own at the collector.
SignalName: TypeAlias = Literal["traces", "logs", "metrics"]

GRPC_PORT, HTTP_PORT = 4317, 4318
_SIGNAL_PATH = re.compile("/v1/(traces|logs|metrics)$")
DEFAULT_URL = "http://localhost:4317"
_DEFAULT_PORT: dict[Protocol, int] = {"grpc": GRPC_PORT, "http": HTTP_PORT}
_OTHER: dict[Protocol, Protocol] = {"grpc": "http", "http": "grpc"}
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
    url: str,
    protocol: Protocol | None = None,
    *,
    path_is_whole: bool = False,
    signal: SignalName = "traces",
) -> Endpoint:
    """Parse `url` into an `Endpoint` for `signal`.

    ``host:4317`` means plain text. A missing port is the protocol's default (443 under https). Without `protocol`, port
    4318 or a path means http, everything else grpc. For http, ``/v1/traces`` (``/v1/logs``, ``/v1/metrics``) is appended
    unless `path_is_whole` and `url` has a path; the path of another signal is replaced. Doubled slashes in the path are
    collapsed.

    Raises:
        ConfigurationError: `url` is not a URL of a collector, or contradicts `protocol`; the message says the fix.
    """
    parts = _split(url)
    # "http://host:4318/" with "/v1/traces" put behind it: collectors redirect or refuse a doubled slash
    port, path = _port(parts, url), re.sub("/{2,}", "/", parts.path).rstrip("/")
    used = protocol or _implied_protocol(port, path)
    _check_port(url, protocol, used, port, path)
    _check_path(url, used, path)
    is_insecure = parts.scheme == "http"
    if port is None:
        port = _DEFAULT_PORT[used] if is_insecure else 443
    address = f"{_host(parts)}:{port}"
    if used == "grpc":
        return Endpoint("grpc", address, is_insecure)
    if not (path and path_is_whole):
        path = f"{_SIGNAL_PATH.sub('', path)}/v1/{signal}"
    return Endpoint("http", _http_url(parts, address, path), is_insecure)


def _implied_protocol(port: int | None, path: str) -> Protocol:
    if port == HTTP_PORT or path:
        return "http"
    return "grpc"


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host


def _http_url(parts: SplitResult, address: str, path: str) -> str:
    userinfo = parts.netloc.rpartition("@")[0]
    netloc = f"{userinfo}@{address}" if userinfo else address
    return parts._replace(netloc=netloc, path=path, fragment="").geturl()


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
        raise _error(
            url, "has port 0: use the collector's own (4317 for grpc, 4318 for http)"
        )
    return port


def _check_port(
    url: str, asked: Protocol | None, used: Protocol, port: int | None, path: str
) -> None:
    if port != _OTHERS_PORT[used]:
        return
    other, own_port = _OTHER[used], _DEFAULT_PORT[used]
    why, fix = f"its path {path!r} means http", "drop the path"
    if asked:
        why, fix = f"collector_protocol is {asked!r}", f"collector_protocol={other!r}"
    raise _error(
        url, f"has the {other} port {port}, but {why}: use port {own_port}, or {fix}"
    )


def _check_path(url: str, used: Protocol, path: str) -> None:
    # a path implies http, so gRPC with a path was asked for
    if used == "grpc" and path:
        fix = "drop the path, or use collector_protocol='http'"
        raise _error(
            url, f"has the path {path!r}, but collector_protocol is 'grpc': {fix}"
        )


def _error(url: str, problem: str) -> ConfigurationError:
    from obs_core._safety.redaction import Redactor

    return ConfigurationError(
        f"collector_url {Redactor().url(url)!r} {problem}, for instance {DEFAULT_URL!r}"
    )
