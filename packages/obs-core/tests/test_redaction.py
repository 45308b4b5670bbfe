"""What must never be exported, whatever else is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obs_core.integration import REDACTED, Redactor

DENIED = (
    "Authorization", "proxy-authorization", "Cookie", "Set-Cookie", "X-Auth-Token", "access_token", "idToken", "tokens",
    "client_secret", "SECRET_KEY", "password", "db.passwd", "userPassword", "X-Api-Key", "api_key", "apikey", "openai.api.key",
    "X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "aws_access_key_id", "private_key", "sig", "Signature",
    "X-Goog-Signature", "secret.max_tokens",
)  # fmt: skip
HARMLESS = (
    "max_tokens", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "llm.tokens.total", "token_count", "author",
    "X-Correlation-ID", "user", "host", "signal", "keyboard", "design", "content-type", "http.route",
)  # fmt: skip


@pytest.mark.promise("CORE-61")
@pytest.mark.parametrize("name", DENIED)
def test_secret_names_are_masked(name: str) -> None:
    """In any case, with any separator."""
    assert Redactor().value(name, "s3cret") == REDACTED


@pytest.mark.promise("CORE-61")
@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_names_are_not(name: str) -> None:
    """A number of tokens is no token."""
    assert Redactor().value(name, "plain") == "plain"


@pytest.mark.promise("CORE-61")
@given(
    name=st.sampled_from(DENIED),
    separator=st.sampled_from("-_. "),
    upper=st.booleans(),
    secret=st.text(
        st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="&#[]"),
        min_size=6,
    ),
)
def test_no_secret_survives_nesting_headers_or_urls(
    name: str, separator: str, upper: bool, secret: str
) -> None:
    """However the name is spelt, wherever the value stands."""
    spelt = name.replace("-", separator).replace("_", separator)
    spelt = spelt.upper() if upper else spelt.lower()
    redactor = Redactor(extra=["ssn"])
    assert secret not in str(
        redactor.value("args", {"deep": [{spelt: secret}]})
    ).replace(spelt, "")
    assert redactor.headers({spelt: secret}) == {spelt: REDACTED}
    query = f"{spelt.replace(' ', '%20')}={secret}"
    assert redactor.query(f"a=1&{query}&b=2").startswith("a=1&")
    assert f"={secret}" not in redactor.query(f"a=1&{query}&b=2")


@pytest.mark.promise("CORE-61")
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host:4318/v1/traces", "http://host:4318/v1/traces"),
        ("https://me:pw@host/x?a=1", "https://REDACTED:REDACTED@host/x?a=1"),
        ("me:pw@host:4317", "REDACTED:REDACTED@host:4317"),
        ("host:4317", "host:4317"),
        (
            "https://b.s3/x?X-Amz-Signature=abc&X-Amz-Date=1",
            "https://b.s3/x?X-Amz-Signature=[REDACTED]&X-Amz-Date=1",
        ),
        (
            "https://x/cb#access_token=abc&state=1",
            "https://x/cb#access_token=[REDACTED]&state=1",
        ),
        ("https://x/?api%5Fkey=abc", "https://x/?api%5Fkey=[REDACTED]"),
        ("http://[broken", REDACTED),
    ],
)
def test_urls_lose_their_secrets_and_nothing_else(url: str, shown: str) -> None:
    """User, password, and the secret parameters of query and fragment."""
    assert Redactor().url(url) == shown


@given(st.text())
def test_any_text_may_be_taken_for_a_url_or_a_name(text: str) -> None:
    """Never raises."""
    redactor = Redactor()
    redactor.url(text)
    redactor.query(text)
    redactor.is_sensitive(text)


@given(st.lists(st.text(min_size=1)))
def test_more_patterns_never_unmask(extra: list[str]) -> None:
    """The user's globs add to the list; a glob that is no pattern is taken literally."""
    redactor = Redactor(extra)
    assert all(redactor.is_sensitive(name) for name in DENIED)
