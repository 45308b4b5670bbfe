"""The user of a request, from the application's own headers or those of an AWS load balancer."""

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
from opentelemetry import baggage
from opentelemetry.context import Context

_PRINTABLE = re.compile(r"[\x21-\x7e]{1,256}")
#: Read from and written to baggage.
BAGGAGE_KEYS = ("user.id", "user.hash", "tenant.id")
_TENANT_CLAIMS = ("custom:tenant_id", "tenant_id", "tid")


@dataclass(frozen=True, slots=True)
class Identity:
    """The user and the tenant of a request.

    Attributes:
        user_id: ``user.id`` of the span.
        tenant_id: ``tenant.id`` of the span; None: not recorded.
    """

    user_id: str | None
    tenant_id: str | None = None


Identify = Callable[[Mapping[str, str]], Identity | str | None]


def aws_alb_identity(headers: Mapping[str, str]) -> Identity | None:
    """Return the user that the AWS Application Load Balancer names; None without a user, or on a contradiction.

    Reads ``x-amzn-oidc-identity`` and the claims of ``x-amzn-oidc-data``. The token's signature is not checked,
    because that takes a network call: the answer is for telemetry, not for authorization, and only valid if only
    the load balancer can reach the service. Never raises.
    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
    """
    said, token = headers.get("x-amzn-oidc-identity"), headers.get("x-amzn-oidc-data")
    claims = _claims(token)
    if claims is None:
        return None
    subject = claims.get("sub")
    user = said or subject
    if not _is_id(user) or (subject is not None and subject != user):
        return None
    tenant = next(
        (claims[name] for name in _TENANT_CLAIMS if _is_id(claims.get(name))), None
    )
    return Identity(user, tenant)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _PRINTABLE.fullmatch(value) is not None


def _claims(token: str | None) -> dict[str, Any] | None:
    if not token:
        return {}
    parts = token.split(".")
    if len(parts) != 3 or len(token) > 16384:
        return None
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    if isinstance(claims, dict):
        return claims
    return None


def without_identity(context: Context) -> Context:
    """Return `context` without the user and tenant in the caller's baggage."""
    for name in BAGGAGE_KEYS:
        if baggage.get_baggage(name, context) is not None:
            context = baggage.remove_baggage(name, context)
    return context


class IdentityReader:
    """Reads the user and the tenant of a request as attributes.

    Args:
        identify: Called with the request's headers (lower-case names); or ``"aws_alb"``; None: headers are not
            read.
        hash_key: If given, ``user.hash`` (HMAC-SHA-256 under this key, hex) replaces ``user.id``.
        from_baggage: Trust the caller's baggage if the headers name no user.

    Raises:
        ConfigurationError: `identify` is not a callable or ``"aws_alb"``, or `hash_key` is empty.
    """

    __slots__ = ("_hash_key", "_identify", "from_baggage")

    def __init__(
        self,
        identify: Identify | Literal["aws_alb"] | None,
        hash_key: str | None,
        *,
        from_baggage: bool = False,
    ) -> None:
        if identify not in ("aws_alb", None) and not callable(identify):
            raise ConfigurationError(
                f"identify={identify!r} is not valid: pass a callable, or 'aws_alb'"
            )
        if hash_key == "":
            raise ConfigurationError(
                "identity_hash_key is empty: without a key, the hash of an id can be guessed; pass a secret"
            )
        self._identify: Identify | None = (
            aws_alb_identity if identify == "aws_alb" else identify
        )
        self.from_baggage = from_baggage
        self._hash_key = hash_key.encode() if hash_key is not None else None

    def attributes(
        self, headers: Mapping[str, str], context: Context | None = None
    ) -> dict[str, str]:
        """Return ``user.id`` or ``user.hash``, and ``tenant.id``; empty if the request names neither.

        Args:
            headers: By lower-case name.
            context: With the caller's baggage; None: without.
        """
        attributes = self._of_headers(headers)
        if attributes or not self.from_baggage or context is None:
            return attributes
        return self._of_baggage(context)

    def _of_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        found = self._identify(headers) if self._identify is not None else None
        identity = Identity(found) if isinstance(found, str) else found
        attributes = {}
        if identity is not None and _is_id(identity.user_id):
            attributes.update(self._user(str(identity.user_id)))
        if identity is not None and _is_id(identity.tenant_id):
            attributes["tenant.id"] = str(identity.tenant_id)
        return attributes

    def _of_baggage(self, context: Context) -> dict[str, str]:
        said = {
            name: str(value)
            for name in BAGGAGE_KEYS
            if _is_id(value := baggage.get_baggage(name, context))
        }
        user = said.pop("user.id", None)
        if user is not None:
            said.update(self._user(user))
        return said

    def _user(self, user_id: str) -> dict[str, str]:
        if self._hash_key is None:
            return {"user.id": user_id}
        return {
            "user.hash": hmac.new(
                self._hash_key, user_id.encode(), hashlib.sha256
            ).hexdigest()
        }
