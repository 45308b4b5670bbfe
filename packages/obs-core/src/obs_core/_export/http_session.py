"""The HTTP session of the export: only an answer of a collector counts as success.

OTLP's exporter takes any status below 400 for success. Before 1.45 the exporter followed every redirect, and 301, 302 and
303 turned the POST into a GET; since then no redirect is followed, and 307 and 308 lose the spans too.
"""

from __future__ import annotations

# requests imports it in its first request: a child forked meanwhile would wait for ever for the module's lock
import netrc  # noqa: F401
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

from obs_core._export import partial_success
from obs_core._export.availability import note_status, noting_silence
from obs_core._safety.redaction import Redactor

#: The redirects after which a POST is still one.
_KEEP_POST = (307, 308)
_MAX_REDIRECTS = 5
_PROTOBUF = "application/x-protobuf"
#: The headers that the exporter and requests set themselves.
_PROTOCOL_HEADERS = frozenset(
    (
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-type",
        "user-agent",
    )
)


class CollectorSession(requests.Session):
    """Sends the configured headers alone, follows 307 and 308, and raises if no collector has answered.

    Authorization goes to another host, scheme or port as requests rules; the configured headers stay with the first host.

    Args:
        headers: Sent with every request. The exporter's own reading of the environment is left out.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.max_redirects = _MAX_REDIRECTS
        self._configured = headers

    def request(  # type: ignore[override] # the exporters name what they give
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> requests.Response:
        """Send, follow, and check.

        Raises:
            requests.RequestException: The request failed, or was answered by something that is no collector.
        """
        options.update(headers=self._only_ours(headers or {}), allow_redirects=True)
        if self.verify is not True:
            # requests prefers REQUESTS_CA_BUNDLE to what its session is told: https://github.com/psf/requests/issues/3829
            options.setdefault("verify", self.verify)
        with noting_silence(requests.ConnectionError, requests.Timeout):
            response = super().request(method, url, **options)
        check_answer(response)
        return response

    def _only_ours(self, given: Mapping[str, Any]) -> dict[str, Any]:
        foreign = (
            name
            for name in (*self.headers, *given)
            if name.lower() not in _PROTOCOL_HEADERS
        )
        # None takes out what the session itself would add
        return {**given, **dict.fromkeys(foreign), **self._configured}

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where a redirect leads that is to be followed."""
        return (
            super().get_redirect_target(resp)
            if resp.status_code in _KEEP_POST
            else None
        )

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Remove the headers that must not go to the target of a redirect."""
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]
        if _host(prepared_request) != _host(response.request):
            for name in self._configured:
                prepared_request.headers.pop(name, None)


def check_answer(response: requests.Response, **_: object) -> None:
    """Raise for an answer that the exporter takes for success and that no collector gives; a response hook of requests.

    A partial success is noted, and whether the collector is available.

    Raises:
        requests.HTTPError: A redirect, or a page for people.
    """
    note_status(response.status_code)
    location = Redactor().url(response.headers.get("location", ""))
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if 300 <= response.status_code < 400:
        problem = f"it redirects ({response.status_code}) to {location or 'nowhere'}: use that URL"
    elif response.ok and kind == "text/html":
        problem = "it answers with an HTML page, so it is no collector: check host, port and path"
    else:
        if response.ok and kind == _PROTOBUF:
            partial_success.note(response.content)
        return
    raise requests.HTTPError(problem, response=response)


def _host(request: requests.PreparedRequest) -> str | None:
    return urlsplit(request.url or "").hostname
