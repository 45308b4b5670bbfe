"""What a request costs beside contrib's, in function calls: a count that no busy machine changes.

Times are measured by ``benchmarks/http_overhead.py``; these bounds keep them from growing unseen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import requests
from obs_http import instrument_httpx, instrument_requests
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from requests.adapters import BaseAdapter

from tests.call_counts import (
    function_calls,
    need_newest_contrib,
    our_provider,
    sdk_provider,
)

URL = "https://shop.example.com/items/7?page=2"


class Answers(BaseAdapter):
    """Answers each request at once."""

    def send(self, request: Any, *_: object, **__: object) -> requests.Response:
        response = requests.Response()
        response.status_code, response.url, response.request = 200, request.url, request
        response._content = b""
        return response

    def close(self) -> None:
        pass


def with_httpx(contestant: str, provider: TracerProvider) -> int:
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    with httpx.Client(transport=transport) as client:
        if contestant == "contrib":
            HTTPXClientInstrumentor().instrument_client(
                client, tracer_provider=provider
            )
        elif contestant == "ours":
            instrument_httpx(client, tracer_provider=provider)
        return function_calls(lambda: client.get(URL), provider)


def with_requests(contestant: str, provider: TracerProvider) -> int:
    with requests.Session() as session:
        session.mount("https://", Answers())
        if contestant == "contrib":
            RequestsInstrumentor().instrument(tracer_provider=provider)
        elif contestant == "ours":
            instrument_requests(session, tracer_provider=provider)
        try:
            return function_calls(lambda: session.get(URL), provider)
        finally:
            if contestant == "contrib":
                RequestsInstrumentor().uninstrument()


@pytest.mark.promise("HTTP-10")
@pytest.mark.parametrize("rate", [1.0, 0.0], ids=["sampled", "unsampled"])
@pytest.mark.parametrize(("count", "bound"), [(with_httpx, 0.35), (with_requests, 0.5)])
def test_calls_beside_contribs(
    count: Callable[[str, TracerProvider], int], bound: float, rate: float
) -> None:
    """Half of contrib's or less, as a service has both: contrib on the SDK's provider, ours on ours."""
    need_newest_contrib()
    bare, theirs = (count(name, sdk_provider(rate)) for name in ("bare", "contrib"))
    mine = count("ours", our_provider(rate))
    assert 0 < mine - bare <= bound * (theirs - bare)
