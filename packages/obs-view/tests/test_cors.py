"""CORS: exporters that run in a browser, on a page of another origin."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from obs_view import Receiver
from obs_view._cli import main

from .test_http import JSON, a_span, document

PAGE = "http://localhost:3000"
ASKS = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type",
}


def preflight(
    receiver: Receiver, origin: str, path: str = "/v1/traces", **more: str
) -> httpx.Response:
    """What a browser asks before it posts JSON to another origin."""
    headers = {"Origin": origin, **ASKS, **more}
    return httpx.options(receiver.http_url + path, headers=headers, trust_env=False)


@pytest.mark.promise("VIEW-06")
def test_no_page_of_another_origin_may_send_unless_allowed(receiver: Receiver) -> None:
    """By default a preflight is refused, and no answer says that the page may read it."""
    answer = preflight(receiver, PAGE)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_an_allowed_page_may_send() -> None:
    """The preflight allows what was asked for; the answer to the request itself may be read."""
    with Receiver(0, 0, allowed_origins=[PAGE]) as receiver:
        answer = preflight(receiver, PAGE)
        assert (answer.status_code, answer.headers["vary"]) == (204, "Origin")
        allowed = {
            key: value for key, value in answer.headers.items() if "-allow-" in key
        }
        assert allowed == {
            "access-control-allow-origin": PAGE,
            "access-control-allow-methods": "POST",
            "access-control-allow-headers": "content-type",
        }
        sent = httpx.post(
            receiver.http_url + "/v1/traces",
            json=document(a_span()),
            headers={"Origin": PAGE},
            trust_env=False,
        )
        assert (sent.status_code, sent.headers["access-control-allow-origin"]) == (
            200,
            PAGE,
        )
        private = preflight(
            receiver, PAGE, **{"Access-Control-Request-Private-Network": "true"}
        )
        assert private.headers["access-control-allow-private-network"] == "true"


@pytest.mark.promise("VIEW-06")
@pytest.mark.parametrize(
    "path", ["/", "/api/traces", "/static/main.js", f"/api/traces/{'1' * 32}"]
)
def test_an_allowed_page_may_read_no_traces(path: str) -> None:
    """The option is for sending: the page's API stays this origin's own."""
    with Receiver(0, 0, allowed_origins=["*"]) as receiver:
        assert preflight(receiver, PAGE, path).status_code == 405
        answer = httpx.get(
            receiver.http_url + path, headers={"Origin": PAGE}, trust_env=False
        )
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("allowed", "origin", "fits"),
    [
        (PAGE, "http://localhost:3000", True),
        (PAGE, "http://localhost:3001", False),
        (PAGE, "https://localhost:3000", False),
        ("HTTP://LocalHost:3000", PAGE, True),
        ("http://localhost:*", "http://localhost:5173", True),
        ("http://localhost:*", "http://localhost.evil.example:1", False),
        ("https://*.shop.example", "https://www.shop.example", True),
        ("https://*.shop.example", "https://shop.example.evil", False),
        ("*", "https://anything.example", True),
        ("*", "null", True),
    ],
)
def test_origins_may_have_wildcards(allowed: str, origin: str, fits: bool) -> None:
    """``*`` stands for any characters; scheme and port must fit."""
    with Receiver(0, 0, allowed_origins=[allowed]) as receiver:
        answer = preflight(receiver, origin)
        assert answer.headers.get("access-control-allow-origin") == (
            origin if fits else None
        )


def test_a_refused_request_can_be_read_too() -> None:
    """A page sees why its spans were refused."""
    with Receiver(0, 0, allowed_origins=[PAGE]) as receiver:
        answer = httpx.post(
            receiver.http_url + "/v1/traces",
            content=b"{",
            headers={**JSON, "Origin": PAGE},
            trust_env=False,
        )
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (
            400,
            PAGE,
        )


@pytest.mark.parametrize(
    "origin", ["localhost:3000", "http://", "http://shop/path", ""]
)
def test_what_is_no_origin_is_refused_at_the_start(
    origin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With how to write one, in Python and on the command line."""
    with pytest.raises(ValueError, match="is no origin: write http://localhost:3000"):
        Receiver(0, 0, allowed_origins=[origin])
    with pytest.raises(SystemExit):
        main(["tail", f"--allow-origin={origin}"])
    assert "is no origin: write http://localhost:3000" in capsys.readouterr().err


POST = """async ([url, body]) => {
    try {
        const headers = { "Content-Type": "application/json" };
        return (await fetch(url, { method: "POST", headers, body })).status;
    } catch (error) { return String(error); }
}"""


@pytest.mark.parametrize("allowed", [True, False])
def test_a_real_browser_sends_or_is_refused(
    browser: Any, receiver: Receiver, allowed: bool
) -> None:
    """A page of one port posts a span to another, as OpenTelemetry's exporter for browsers does."""
    origins = [receiver.http_url] if allowed else []
    with Receiver(0, 0, allowed_origins=origins) as other:
        context = browser.new_context(bypass_csp=True)
        page = context.new_page()
        page.goto(receiver.http_url)
        url = other.http_url + "/v1/traces"
        result = page.evaluate(POST, [url, json.dumps(document(a_span()))])
        context.close()
        assert (result, other.store.count) == (
            (200, 1) if allowed else ("TypeError: Failed to fetch", 0)
        )
