"""requests against real servers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from obs_core import correlation_scope
from obs_core.exceptions import ConfigurationError
from obs_core.testing import SpanRecorder
from obs_http import instrument_requests, uninstrument_requests
from opentelemetry import trace
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
from opentelemetry.trace import SpanKind, StatusCode
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry


@pytest.fixture(autouse=True)
def take_back() -> Iterator[None]:
    before = (vars(requests.Session)["send"], vars(requests.Session)["get_adapter"])
    yield
    uninstrument_requests()
    assert (
        vars(requests.Session)["send"],
        vars(requests.Session)["get_adapter"],
    ) == before


class Server(ThreadingHTTPServer):
    """Answers 200, /redirect 302, /busy 503 as often as `busy` says; keeps the headers of what came."""

    daemon_threads = True

    def __init__(self) -> None:
        self.busy = 0
        self.seen: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server_port}"

    def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.seen.append(
                    {name.lower(): value for name, value in self.headers.items()}
                )
                status = 302 if self.path.startswith("/redirect") else 200
                if self.path.startswith("/busy") and server.busy:
                    server.busy -= 1
                    status = 503
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/landed")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(
            target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        thread.start()
        yield made
        made.shutdown()
        thread.join(10)


@pytest.mark.promise("HTTP-08")
def test_the_span_of_a_request_whole(server: Server, spans: SpanRecorder) -> None:
    """Name, kind, status and every attribute; trace and correlation id go out; secrets of the URL do not."""
    instrument_requests()
    with correlation_scope("c-1"):
        requests.get(
            server.url.replace("//", "//bob:pa55@") + "/items?page=2&sig=5ig",
            timeout=10,
        )
    (span,) = spans.finished
    assert (span.name, span.kind, span.status.status_code, span.parent) == (
        "GET",
        SpanKind.CLIENT,
        StatusCode.UNSET,
        None,
    )
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "url.full": server.url.replace("//", "//REDACTED:REDACTED@")
        + "/items?page=2&sig=[REDACTED]",
        "server.address": "127.0.0.1",
        "server.port": server.server_port,
        "http.response.status_code": 200,
        "network.protocol.version": "1.0",
        "correlation_id": "c-1",
    }
    (seen,) = server.seen
    assert seen["traceparent"].split("-")[2] == f"{span.context.span_id:016x}"
    assert (seen["x-correlation-id"], seen["baggage"]) == ("c-1", "correlation_id=c-1")


@pytest.mark.promise("HTTP-08")
def test_redirects_are_one_trace(server: Server, spans: SpanRecorder) -> None:
    """A span for each request sent, in one trace, each with its own traceparent."""
    instrument_requests()
    answer = requests.get(f"{server.url}/redirect", timeout=10)
    first, second = spans.finished
    assert [step.status_code for step in answer.history] == [302]
    assert second.parent is not None
    assert (second.context.trace_id, second.parent.span_id) == (
        first.context.trace_id,
        first.context.span_id,
    )
    assert [seen["traceparent"].split("-")[2] for seen in server.seen] == [
        f"{span.context.span_id:016x}" for span in spans
    ]
    assert (second.attributes or {})["http.request.resend_count"] == 1


@pytest.mark.promise("HTTP-08")
def test_retries_of_urllib3_are_one_span(server: Server, spans: SpanRecorder) -> None:
    """Two refusals and an answer: one span, one trace, and how often it was sent again."""
    instrument_requests()
    server.busy = 2
    with (
        requests.Session() as session,
        trace.get_tracer("test").start_as_current_span("order"),
    ):
        session.mount(
            "http://",
            HTTPAdapter(
                max_retries=Retry(total=3, status_forcelist=[503], backoff_factor=0)
            ),
        )
        assert session.get(f"{server.url}/busy", timeout=10).status_code == 200
    spans.assert_tree(
        """
        order [INTERNAL]
          GET [CLIENT] http.response.status_code=200 http.request.resend_count=2
        """,
        attributes=["http.response.status_code", "http.request.resend_count"],
    )
    assert len({seen["traceparent"] for seen in server.seen}) == 1


@pytest.mark.promise("HTTP-08")
def test_what_cannot_be_sent_is_recorded_once_without_its_secrets(
    spans: SpanRecorder,
) -> None:
    """Requests' message quotes the whole URL; what is exported of it is masked."""
    instrument_requests()
    with pytest.raises(requests.ConnectionError):
        requests.get(
            "http://bob:pa55@127.0.0.1:1/items?token=s3cret&page=2", timeout=10
        )
    (span,) = spans.finished
    assert (span.status.status_code, len(span.events)) == (StatusCode.ERROR, 1)
    exported = span.to_json()
    assert "s3cret" not in exported
    assert "pa55" not in exported
    assert "token=[REDACTED]&page=2" in exported


@pytest.mark.promise("HTTP-08")
def test_a_raising_hook_is_not_felt(
    server: Server, spans: SpanRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; the response arrives."""
    seen: list[Any] = []

    def note(span: Any, request: Any, response: Any) -> None:
        seen.append((request.method, response.status_code))
        raise RuntimeError("hook")

    def broken(span: Any, request: Any) -> None:
        raise RuntimeError("hook")

    instrument_requests(on_start=broken, on_end=note)
    with caplog.at_level(logging.ERROR, logger="obs_core"):
        assert requests.get(server.url, timeout=10).status_code == 200
    assert seen == [("GET", 200)]


class Own(HTTPAdapter):
    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        response = requests.Response()
        response.status_code = 200
        response.request = request
        return response


@pytest.mark.promise("HTTP-08")
def test_one_session_alone_and_any_adapter(spans: SpanRecorder) -> None:
    """The others stay untraced; all and one together make one span; nothing of ours is left behind."""

    def get(session: requests.Session) -> None:
        session.mount("http://", Own())
        assert session.get("http://shop/").status_code == 200

    with requests.Session() as mine, requests.Session() as other:
        before = dict(vars(mine))
        handle = instrument_requests(mine)
        get(mine)
        get(other)
        assert len(spans) == 1
        instrument_requests()
        get(mine)
        assert len(spans) == 2
        assert type(mine.get_adapter("http://shop/")) is Own
        uninstrument_requests()
        handle.uninstrument()
        assert vars(mine) == before
        get(mine)
        assert len(spans) == 2


@pytest.mark.promise("HTTP-08")
def test_an_instrumentation_of_urllib3_makes_no_second_span(
    server: Server, spans: SpanRecorder
) -> None:
    """Below the adapter contrib's HTTP clients are suppressed, and after the call no longer."""
    asked: list[bool] = []

    class Asking(HTTPAdapter):
        def send(self, *args: Any, **kwargs: Any) -> requests.Response:
            asked.append(is_http_instrumentation_enabled())
            return super().send(*args, **kwargs)

    with requests.Session() as session:
        session.mount("http://", Asking())
        instrument_requests(session)
        session.get(server.url)
    assert (asked, is_http_instrumentation_enabled(), len(spans)) == ([False], True, 1)


@pytest.mark.promise("HTTP-08")
def test_a_request_made_by_on_end_is_a_call_of_its_own(
    server: Server, spans: SpanRecorder
) -> None:
    """It is not taken for a redirect of the first."""
    instrument_requests()

    def refresh(response: requests.Response, **_: object) -> None:
        requests.get(f"{server.url}/token", timeout=10)

    requests.get(server.url, hooks={"response": refresh}, timeout=10)
    assert [
        (span.attributes or {}).get("http.request.resend_count") for span in spans
    ] == [
        None,
        None,
    ]


def test_the_exporters_own_requests_are_not_traced(
    otlp_sink: Any, spans: SpanRecorder
) -> None:
    """OTLP over HTTP goes through requests itself: no span may cause another."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    instrument_requests()
    provider = TracerProvider()
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_sink.url))
    )
    provider.get_tracer("test").start_span("work").end()
    provider.shutdown()
    assert [span.name for span in otlp_sink.wait_for(1)] == ["work"]
    assert len(spans) == 0


def test_what_is_no_session_is_refused() -> None:
    """With what was given."""
    with pytest.raises(ConfigurationError, match="'session'"):
        instrument_requests("session")  # type: ignore[arg-type]
