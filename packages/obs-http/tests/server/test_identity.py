"""Who a request is for, as an AWS load balancer tells it, and as a stranger forges it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obs_http import Identity
from obs_http.server._identity import IdentityReader, aws_alb_identity


def token(claims: object, *, header: object = None) -> str:
    parts = [json.dumps(part).encode() for part in (header or {"alg": "ES256"}, claims)]
    return ".".join(
        base64.urlsafe_b64encode(part).decode() for part in (*parts, b"signature")
    )


@pytest.mark.promise("HTTP-07")
def test_the_load_balancers_headers_name_user_and_tenant() -> None:
    """The subject, and the tenant where a claim tells it; either header will do."""
    claims = {"sub": "u-1", "email": "a@b.example", "custom:tenant_id": "t-1"}
    both = {"x-amzn-oidc-identity": "u-1", "x-amzn-oidc-data": token(claims)}
    assert aws_alb_identity(both) == Identity("u-1", "t-1")
    assert aws_alb_identity({"x-amzn-oidc-identity": "u-1"}) == Identity("u-1")
    assert aws_alb_identity(
        {"x-amzn-oidc-data": token(claims).rstrip("=")}
    ) == Identity("u-1", "t-1")
    assert aws_alb_identity({}) is None


FORGED = {
    "not a token": "rubbish",
    "two parts": "a.b",
    "four parts": "a.b.c.d",
    "empty": "..",
    "not base64": "a.@@@.c",
    "not JSON": f"a.{base64.urlsafe_b64encode(b'rubbish').decode()}.c",
    "not UTF-8": f"a.{base64.urlsafe_b64encode(bytes([255, 254])).decode()}.c",
    "not an object": token([1]),
    "null": token(None),
    "subject is a number": token({"sub": 7}),
    "subject is an object": token({"sub": {"sub": "u-1"}}),
    "subject of another": token({"sub": "u-2"}),
    "subject with a line break": token({"sub": "u\r\nSet-Cookie: a"}),
    "subject too long": token({"sub": "u" * 257}),
    "deep": f"a.{base64.urlsafe_b64encode(b'[' * 9000).decode()}.c",
    "large": "a." + "a" * 200_000 + ".c",
}


@pytest.mark.promise("HTTP-07")
@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_names_nobody(name: str) -> None:
    """It never raises, and a token that contradicts the header beside it is not believed, nor is that header."""
    assert (
        aws_alb_identity(
            {"x-amzn-oidc-identity": "u-1", "x-amzn-oidc-data": FORGED[name]}
        )
        is None
    )


@pytest.mark.promise("HTTP-07")
@given(st.text(), st.text())
@settings(max_examples=300, deadline=None)
def test_no_token_raises(identity: str, data: str) -> None:
    """Whatever the headers say."""
    aws_alb_identity({"x-amzn-oidc-identity": identity, "x-amzn-oidc-data": data})
    aws_alb_identity(
        {
            "x-amzn-oidc-data": f"a.{base64.urlsafe_b64encode(data.encode('utf-8', 'replace')).decode()}.c"
        }
    )


@pytest.mark.promise("HTTP-07")
def test_with_a_key_the_hash_stands_in_for_the_id() -> None:
    """``user.hash`` is HMAC-SHA-256 under the key; ``user.id`` is nowhere; the tenant stays readable."""
    reader = IdentityReader(lambda headers: Identity("u-1", "t-1"), "k3y")
    expected = hmac.new(b"k3y", b"u-1", hashlib.sha256).hexdigest()
    assert reader.attributes({}) == {"user.hash": expected, "tenant.id": "t-1"}


@pytest.mark.promise("HTTP-07")
@pytest.mark.parametrize(
    ("answer", "attributes"),
    [
        ("u-1", {"user.id": "u-1"}),
        (None, {}),
        ("", {}),
        (Identity(None, "t-1"), {"tenant.id": "t-1"}),
        (Identity("a b"), {}),
    ],
)
def test_what_a_callable_may_answer(
    answer: Identity | str | None, attributes: dict[str, str]
) -> None:
    """An id, an identity or nothing; an id that could forge a header or a log line is nothing."""
    assert IdentityReader(lambda headers: answer, None).attributes({}) == attributes
