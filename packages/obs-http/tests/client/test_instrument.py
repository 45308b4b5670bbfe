"""What holds for every HTTP client alike: httpx and httpx2, sync and async, and requests; one question a test, asked of all."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import httpx
import pytest
import requests
from obs_core import CorrelationConfig, TracingConfig, correlation_scope, setup_tracing
from obs_core.exceptions import AlreadyConfiguredError, ConfigurationError
from obs_core.testing import SpanRecorder
from obs_http import (
    instrument_httpx,
    instrument_requests,
    uninstrument_httpx,
    uninstrument_requests,
)
from opentelemetry import baggage, context, trace
from opentelemetry.instrumentation import httpx as contrib_httpx
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.trace import NonRecordingSpan, SpanContext
from requests.adapters import BaseAdapter

KINDS = pytest.mark.parametrize("kind", ["sync", "async", "requests"])
CAPTURE = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"
Sent = dict[str, str]


class Answering(BaseAdapter):
    """An adapter of requests that answers by itself."""

    def __init__(self, sent: list[Sent]) -> None:
        super().__init__()
        self.sent = sent

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        self.sent.append(
            {name.lower(): str(value) for name, value in request.headers.items()}
        )
        answer = requests.Response()
        answer.status_code, answer.request, answer.url = 200, request, str(request.url)
        answer.headers["X-Answer"], answer.headers["X-Token-Of-Mine"] = "a", "t"
        return answer

    def close(self) -> None:
        pass


def ask(kind: str, *urls: str, **headers: str) -> list[Sent]:
    """Get each of `urls` with a client of the `kind`; return the headers of each request as they went out."""
    sent: list[Sent] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(dict(request.headers))
        return httpx.Response(200, headers={"X-Answer": "a", "X-Token-Of-Mine": "t"})

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            for url in urls:
                await client.get(url, headers=headers)

    if kind == "async":
        asyncio.run(run())
    elif kind == "sync":
        with httpx.Client(transport=httpx.MockTransport(answer)) as client:
            for url in urls:
                client.get(url, headers=headers)
    else:
        with requests.Session() as session:
            session.mount("http://", Answering(sent))
            for url in urls:
                session.get(url, headers=headers)
    return sent


def instrument(kind: str, **options: Any) -> Any:
    return (instrument_requests if kind == "requests" else instrument_httpx)(**options)


@pytest.fixture(autouse=True)
def take_back() -> Iterator[None]:
    yield
    uninstrument_httpx()
    uninstrument_requests()


@pytest.mark.promise("HTTP-12")
@KINDS
def test_the_standard_variables_say_what_the_code_does_not(
    kind: str, spans: SpanRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers to capture and to mask are regular expressions matched whole and found; URLs, found anywhere."""
    library = "REQUESTS" if kind == "requests" else "HTTPX"
    monkeypatch.setenv(CAPTURE + "CLIENT_REQUEST", "X-Mine.*, accept")
    monkeypatch.setenv(CAPTURE + "CLIENT_RESPONSE", "x-answer,X-Tok.*")
    monkeypatch.setenv(CAPTURE + "SANITIZE_FIELDS", ".*of-mine")
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "never-read")
    monkeypatch.setenv(
        f"OTEL_PYTHON_{library}_EXCLUDED_URLS", "/internal, shop/.*/info$"
    )
    instrument(kind)
    urls = (
        "http://shop/",
        "http://shop/internal/1",
        "http://shop/a/info",
        "http://shop/a/info/1",
    )
    sent = ask(kind, *urls, **{"X-Mine": "1", "X-Mine-Of-Mine": "2", "Not-X-Mine": "3"})
    assert [span.attributes["url.full"] for span in spans if span.attributes] == [
        urls[0],
        urls[3],
    ]
    assert ["traceparent" in headers for headers in sent] == [True, False, False, True]
    captured = {
        name.removeprefix("http."): value
        for name, value in (spans.finished[0].attributes or {}).items()
        if ".header." in name and "accept" not in name
    }
    assert captured == {
        "request.header.x-mine": ("1",),
        "request.header.x-mine-of-mine": ("[REDACTED]",),
        "response.header.x-answer": ("a",),
        "response.header.x-token-of-mine": ("[REDACTED]",),
    }


@pytest.mark.promise("HTTP-12")
@KINDS
def test_what_the_code_says_goes_before_the_standard_variables(
    kind: str, spans: SpanRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it says that there is nothing to capture or to leave out."""
    monkeypatch.setenv(CAPTURE + "CLIENT_REQUEST", ".*")
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "shop")
    instrument(kind, capture_request_headers=[], exclude=[])
    ask(kind, "http://shop/", **{"X-Mine": "1"})
    (span,) = spans
    assert not [name for name in span.attributes or () if ".header." in name]


@pytest.mark.promise("HTTP-12")
@KINDS
def test_a_variable_that_is_no_regular_expression_is_named(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At set-up, with the expression."""
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "ok,a(b")
    with pytest.raises(ConfigurationError, match=r"OTEL_PYTHON_EXCLUDED_URLS: 'a\(b'"):
        instrument(kind)


@pytest.mark.promise("HTTP-08")
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_coroutine_function_is_run_as_a_hook(kind: str, spans: SpanRecorder) -> None:
    """For asynchronous clients it is awaited, before the request and after it; synchronous ones cannot, and make no noise."""
    seen: list[Any] = []

    async def before(span: Any, request: httpx.Request) -> None:
        await asyncio.sleep(0)
        request.headers["X-Hook"] = "1"
        seen.append(span.is_recording())

    async def after(
        span: Any, request: httpx.Request, response: httpx.Response
    ) -> None:
        await asyncio.sleep(0)
        span.set_attribute("hook", response.status_code)

    instrument_httpx(on_start=before, on_end=after)
    (sent,) = ask(kind, "http://shop/")
    (span,) = spans
    runs = kind == "async"
    assert (seen, "x-hook" in sent) == ([True] * runs, runs)
    assert (span.attributes or {}).get("hook") == (200 if runs else None)


@pytest.mark.promise("HTTP-08")
def test_an_asynchronous_hook_that_raises_is_logged(
    spans: SpanRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The response arrives, the span ends without an error."""

    async def broken(*_: Any) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("hook")

    instrument_httpx(on_start=broken, on_end=broken)
    with caplog.at_level(logging.ERROR, logger="obs_core"):
        ask("async", "http://shop/")
    assert [span.status.is_unset for span in spans] == [True]
    assert len(caplog.records) == 2


async def coroutine_hook(*_: Any) -> None: ...


class CallableHook:
    async def __call__(self, *_: Any) -> None: ...


@pytest.mark.promise("HTTP-08")
@pytest.mark.parametrize("hook", [coroutine_hook, CallableHook(), "hook"])
@pytest.mark.parametrize("option", ["on_start", "on_end"])
@pytest.mark.parametrize(
    "into",
    [
        instrument_requests,
        lambda **options: instrument_httpx(httpx.Client(), **options),
    ],
    ids=["requests", "httpx.Client"],
)
def test_a_hook_of_the_wrong_kind_is_an_error_at_set_up(
    into: Callable[..., Any], option: str, hook: Any
) -> None:
    """What cannot be called, and what could never be awaited."""
    with pytest.raises(ConfigurationError, match=option):
        into(**{option: hook})


@pytest.mark.promise("CORE-60")
@KINDS
@pytest.mark.parametrize("said", ["set-up", "client"])
def test_without_propagation_the_correlation_id_does_not_leave(
    kind: str, said: str, spans: SpanRecorder
) -> None:
    """Neither as a header of its own nor as baggage; other baggage goes, and the id is on the span."""
    off = CorrelationConfig(propagation=False)
    if said == "client":
        instrument(kind, correlation=off)
    else:
        instrument(kind)
        setup_tracing(
            TracingConfig(service_name="t", correlation=off),
            on_existing_provider="skip",
        )
    with correlation_scope("secret-id"):
        token = context.attach(baggage.set_baggage("tenant", "t-1"))
        (sent,) = ask(kind, "http://shop/")
        context.detach(token)
    (span,) = spans
    assert "secret-id" not in str(sent)
    assert sent["baggage"] == "tenant=t-1"
    assert (span.attributes or {})["correlation_id"] == "secret-id"


@pytest.mark.promise("HTTP-15")
@KINDS
@pytest.mark.parametrize("local", [True, False])
def test_each_request_has_a_parent_id_of_its_own(
    kind: str, local: bool, spans: SpanRecorder
) -> None:
    """Below a span that is not sampled as well, and never that of the span around; trace and decision stay."""
    instrument(kind)
    around = SpanContext(0xABC, 0xDEF, is_remote=not local)
    with trace.use_span(NonRecordingSpan(around)):
        sent = ask(kind, "http://shop/1", "http://shop/2", "http://shop/3")
    parents = [headers["traceparent"].split("-") for headers in sent]
    assert {(parent[1], parent[3]) for parent in parents} == {(f"{0xABC:032x}", "00")}
    assert len({f"{0xDEF:016x}", *(parent[2] for parent in parents)}) == 4
    assert not len(spans)


def contrib_class() -> Any:
    """Contrib's instrumentor of the library; before 0.66 there was none of httpx2."""
    name = {"httpx": "HTTPXClientInstrumentor"}.get(
        httpx.__name__, "HTTPX2ClientInstrumentor"
    )
    if not hasattr(contrib_httpx, name):
        pytest.skip(f"this contrib has no {name}")
    return getattr(contrib_httpx, name)


@pytest.mark.promise("HTTP-08")
@KINDS
@pytest.mark.parametrize("first", ["ours", "contrib"])
def test_beside_contrib_a_request_is_one_span(
    kind: str, first: str, spans: SpanRecorder
) -> None:
    """Contrib's while that is switched on, whichever came first; ours again when it is switched off."""
    contrib: Any = RequestsInstrumentor() if kind == "requests" else contrib_class()()
    if first == "ours":
        instrument(kind)
    contrib.instrument()
    if first == "contrib":
        instrument(kind)
    ask(kind, "http://shop/")
    contrib.uninstrument()
    # contrib traces requests at `Session.send`, httpx at its network transports, which a test without network has not
    assert [span.instrumentation_scope.name for span in spans] == (
        ["opentelemetry.instrumentation.requests"] if kind == "requests" else []
    )
    if first == "ours":
        ask(kind, "http://shop/")
        assert spans.finished[-1].instrumentation_scope.name == "obs_http"


BOTH_ON = """
import LIBRARY as httpx
from obs_core.testing import record_spans
from obs_http import instrument_httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

with record_spans() as spans:
    FIRST
    SECOND
    for _ in range(3):
        try:
            httpx.get("http://127.0.0.1:1/")
        except httpx.ConnectError:
            pass
    print([span.instrumentation_scope.name for span in spans])
"""


@pytest.mark.promise("HTTP-08")
@pytest.mark.parametrize("first", [True, False])
def test_beside_contrib_there_is_one_warning(first: bool) -> None:
    """It says how to change that, once in a process; the spans are contrib's."""
    calls = ["instrument_httpx()", "HTTPXClientInstrumentor().instrument()"]
    calls = calls if first else calls[::-1]
    code = BOTH_ON.replace("FIRST", calls[0]).replace("SECOND", calls[1])
    name = contrib_class().__name__
    code = code.replace("LIBRARY", httpx.__name__).replace(
        "HTTPXClientInstrumentor", name
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert done.stdout.strip() == str(["opentelemetry.instrumentation.httpx"] * 3)
    assert done.stderr.count(f"{name} is active as well as obs-http") == 1


def wrapping(method: Callable[..., Any]) -> Callable[..., Any]:
    def theirs(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self, *args, **kwargs)

    return theirs


@pytest.mark.promise("HTTP-08")
@KINDS
def test_undone_it_only_passes_on_what_others_have_wrapped(
    kind: str, spans: SpanRecorder
) -> None:
    """Someone who has wrapped our wrapper since keeps it in the chain; it makes no span any more."""
    cls: Any = {"sync": httpx.Client, "async": httpx.AsyncClient}.get(
        kind, requests.Session
    )
    names = ("send", "get_adapter" if kind == "requests" else "_send_single_request")
    before = {name: vars(cls)[name] for name in names}
    instrument(kind)
    theirs = {name: wrapping(vars(cls)[name]) for name in names}
    for name in names:
        setattr(cls, name, theirs[name])
    try:
        instrument(kind).uninstrument()
        (sent,) = ask(kind, "http://shop/")
        assert {name: vars(cls)[name] for name in names} == theirs
    finally:
        for name in names:
            setattr(cls, name, before[name])
    assert "traceparent" not in sent
    assert not len(spans)


@KINDS
@pytest.mark.parametrize(
    "option",
    ["redact", "exclude", "propagate_to", "correlation", "capture_request_headers"],
)
def test_an_option_of_the_wrong_kind_is_an_error_at_set_up(
    kind: str, option: str
) -> None:
    """A string is no list, and no configuration; the message names the option."""
    with pytest.raises(ConfigurationError, match=option):
        instrument(kind, **{option: "x-*"})


@KINDS
def test_a_second_call_with_other_options_says_so(kind: str) -> None:
    """The first options stay, and the message names what differs; a call without any option takes what is there."""
    handle = instrument(kind, propagate_to=["*.internal"])
    assert instrument(kind, propagate_to=["*.internal"]) is handle
    assert instrument(kind) is handle
    with pytest.raises(AlreadyConfiguredError, match="another exclude:"):
        instrument(kind, exclude=["*"])
    handle.uninstrument()
    instrument(kind)
    with pytest.raises(AlreadyConfiguredError, match="propagate_to"):
        instrument(kind, propagate_to=["*.internal"])


@KINDS
def test_what_is_masked_is_the_set_ups_whichever_comes_first(
    kind: str, spans: SpanRecorder
) -> None:
    """Instrumented before `setup_tracing(redact=…)`, the values are masked all the same."""
    instrument(kind, capture_request_headers=["*"])
    setup_tracing(
        TracingConfig(service_name="t", redact=["*ssn*"]), on_existing_provider="skip"
    )
    ask(kind, "http://shop/?ssn=078-05-1120", **{"X-SSN": "078-05-1120"})
    (span,) = spans
    assert "078-05-1120" not in span.to_json()


@KINDS
def test_the_scope_has_a_version(kind: str, spans: SpanRecorder) -> None:
    """That of the installed package."""
    instrument(kind)
    ask(kind, "http://shop/")
    (span,) = spans
    scope = span.instrumentation_scope
    assert (scope.name, scope.version) == ("obs_http", version("obs-http"))
