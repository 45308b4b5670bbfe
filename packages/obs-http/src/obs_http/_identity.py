"""Who the request is for: from the application's own headers, or from those of an AWS load balancer."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from obs_core.exceptions import ConfigurationError

_PRINTABLE = re.compile(r"[\x21-\x7e]{1,256}")
_TENANT_CLAIMS = ("custom:tenant_id", "tenant_id", "tid")


@dataclass(frozen=True, slots=True)
class Identity:
    """The user, and the tenant, that a request is for.

    Attributes:
        user_id: ``user.id`` of the span.
        tenant_id: ``tenant.id`` of the span; None: no such attribute.
    """

    user_id: str | None
    tenant_id: str | None = None


Identify = Callable[[Mapping[str, str]], Identity | str | None]


def aws_alb_identity(headers: Mapping[str, str]) -> Identity | None:
    """Return who the Application Load Balancer says has logged in; None where it says nothing, or contradicts itself.

    Reads ``x-amzn-oidc-identity`` and the claims of ``x-amzn-oidc-data``. The token's signature is not checked, for that
    would take a network call: the answer is for telemetry, not for authorization, and is only worth something where
    nothing but the load balancer can reach the service. Never raises.
    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
    """
    said, token = headers.get("x-amzn-oidc-identity"), headers.get("x-amzn-oidc-data")
    claims = _claims(token) if token else {}
    if claims is None:
        return None
    subject = claims.get("sub")
    user = said or subject
    if not _is_id(user) or (subject is not None and subject != user):
        return None
    tenant = next((claims[name] for name in _TENANT_CLAIMS if _is_id(claims.get(name))), None)
    return Identity(user, tenant)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _PRINTABLE.fullmatch(value) is not None


def _claims(token: str) -> dict[str, Any] | None:
    parts = token.split(".")
    if len(parts) != 3 or len(token) > 16384:
        return None
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


class IdentityReader:
    """Turns request headers into the attributes that say who the request is for.

    Args:
        identify: Called with the request's headers (lower-case names); or ``"aws_alb"``.
        hash_key: Where given, ``user.hash`` (HMAC-SHA-256 under this key, hex) takes the place of ``user.id``.

    Raises:
        ConfigurationError: `identify` is neither, or `hash_key` is empty.
    """

    __slots__ = ("_hash_key", "_identify")

    def __init__(self, identify: Identify | Literal["aws_alb"], hash_key: str | None) -> None:
        if identify != "aws_alb" and not callable(identify):
            raise ConfigurationError(f"identify={identify!r} is not valid: pass a callable, or 'aws_alb'")
        if hash_key == "":
            raise ConfigurationError(
                "identity_hash_key is empty: without a key, the hash of an id can be guessed; pass a secret"
            )
        self._identify: Identify = aws_alb_identity if identify == "aws_alb" else identify
        self._hash_key = hash_key.encode() if hash_key is not None else None

    def attributes(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return ``user.id`` or ``user.hash``, and ``tenant.id``; empty where the request names nobody."""
        found = self._identify(headers)
        identity = Identity(found) if isinstance(found, str) else found
        attributes = {}
        if identity is not None and _is_id(identity.user_id):
            attributes.update(self._user(str(identity.user_id)))
        if identity is not None and _is_id(identity.tenant_id):
            attributes["tenant.id"] = str(identity.tenant_id)
        return attributes

    def _user(self, user_id: str) -> dict[str, str]:
        if self._hash_key is None:
            return {"user.id": user_id}
        return {"user.hash": hmac.new(self._hash_key, user_id.encode(), hashlib.sha256).hexdigest()}
