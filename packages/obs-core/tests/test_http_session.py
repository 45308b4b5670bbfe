"""Only what a collector has taken counts as exported: redirects, login pages, and headers that are not ours to send."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from obs_core._export.http_session import CollectorSession
from obs_core.testing._received import decode

Answer = tuple[int, Mapping[str, str], bytes]
OK: Answer = (200, {"content-type": "application/x-protobuf"}, b"")
PAGE: Answer = (
    200,
    {"content-type": "text/html; charset=utf-8"},
    b"<html>Sign in</html>",
)


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    names: tuple[str, ...]
    is_taken: bool


@dataclass
class Gateway:
    """An HTTP server that answers each path as told, and 200 with an empty body where it is not told."""

    port: int
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def url(self, path: str = "", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def taken(self) -> list[str]:
        """The names that came in posts answered as a collector does."""
        return [
            name for found in self.requests if found.is_taken for name in found.names
        ]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """An HTTP server on a free loopback port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            names = tuple(span.name for span in decode(body))
            headers = {name.lower(): value for name, value in self.headers.items()}
            # self.path has no doubled slash at its start any more
            path = self.requestline.split()[1]
            status, fields, answer = given = found.answers.get(path, OK)
            is_taken = self.command == "POST" and given == OK
            found.requests.append(Request(path, headers, names, is_taken))
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found = Gateway(server.server_address[1])
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield found
        server.shutdown()


EXPORT = """
import json
manager, _ = setup_tracing(TracingConfig(
    service_name="s", collector_url=sys.argv[1], collector_protocol="http", spool_dir=sys.argv[2] or None,
    headers=json.loads(sys.argv[3]), exit_timeout_s=10))
spans(2)
flushed = manager.flush(30)
print(json.dumps([flushed, manager.stats().exported, manager.stats().failed]))
"""


def moved(status: int, to: str) -> Answer:
    return status, {"location": to}, b""


REFUSED = {
    **{str(status): moved(status, "/there") for status in (300, 301, 302, 303)},
    "304": (304, {}, b""),
    "307 nowhere": (307, {}, b""),
    "308 in a circle": moved(308, "/v1/traces"),
    "login page": PAGE,
}


@pytest.mark.promise("CORE-33")
@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED)
def test_what_is_no_collector_takes_nothing(
    run, gateway: Gateway, tmp_path: Path, answer: Answer
) -> None:
    """Neither a redirect that turns the POST into a GET, nor a page for people: kept in the spool, and in the log."""
    gateway.answers["/v1/traces"] = answer
    first = run(EXPORT, gateway.url(), str(tmp_path / "spool"), "{}")
    assert json.loads(first.stdout) == [False, 0, 0]
    [line] = [
        line for line in first.lines("obs_core.export") if "does not take spans" in line
    ]
    assert any(word in line for word in ("it redirects", "an HTML page", "redirects"))
    assert "exit: 0 spans exported, 0 dropped, 2 kept in the spool" in first.stderr
    assert gateway.taken() == []
    del gateway.answers["/v1/traces"]
    run(
        "manager, _ = setup_tracing(TracingConfig(service_name='s', collector_url=sys.argv[1],"
        " collector_protocol='http', spool_dir=sys.argv[2], schedule_delay_s=0.05))\n"
        "deadline = time.monotonic() + 30\n"
        "while manager.stats().replayed < 2: assert time.monotonic() < deadline; time.sleep(0.02)",
        gateway.url(),
        str(tmp_path / "spool"),
    )
    assert gateway.taken() == ["span", "span"]


@pytest.mark.promise("CORE-33", "CORE-71")
@pytest.mark.parametrize(
    "answer", [moved(301, "https://elsewhere.test/?token=hunter2"), PAGE]
)
def test_the_doctor_sees_that_it_is_no_collector(
    run, gateway: Gateway, answer: Answer
) -> None:
    """Exit status 1, and the report says where it leads, without secrets."""
    gateway.answers["/v1/traces"] = answer
    done = run(
        "from obs_core.__main__ import main\n"
        "status = main(['doctor', '--timeout=10'])\n"
        "assert status == 1, status",
        OTEL_SERVICE_NAME="s",
        OTEL_EXPORTER_OTLP_ENDPOINT=gateway.url(),
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
    )
    [line] = [line for line in done.stdout.splitlines() if "FAIL" in line]
    assert "does not take spans: " in line
    assert ("https://elsewhere.test/" in line) or ("an HTML page" in line)
    assert "hunter2" not in done.stdout


@pytest.mark.promise("CORE-33")
@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_post_is_followed(
    run, gateway: Gateway, status: int
) -> None:
    """The spans arrive at its end, with the headers that were asked for."""
    gateway.answers["/v1/traces"] = moved(status, "/other/v1/traces")
    headers = {"authorization": "Bearer abcd", "x-key": "efgh"}
    done = run(EXPORT, gateway.url(), "", json.dumps(headers))
    assert json.loads(done.stdout) == [True, 2, 0]
    assert done.stderr == ""
    first, last = gateway.requests
    assert (first.path, last.path) == ("/v1/traces", "/other/v1/traces")
    assert last.names == ("span", "span")
    assert {name: last.headers[name] for name in headers} == headers


@pytest.mark.promise("CORE-33")
def test_headers_do_not_go_to_another_host(run, gateway: Gateway) -> None:
    """A key for one collector is none for the next, whatever the header's name."""
    gateway.answers["/v1/traces"] = moved(307, gateway.url("/next", host="localhost"))
    headers = {"authorization": "Bearer abcd", "x-key": "efgh"}
    done = run(EXPORT, gateway.url(), "", json.dumps(headers))
    assert json.loads(done.stdout) == [True, 2, 0]
    first, last = gateway.requests
    assert (last.path, last.names) == ("/next", ("span", "span"))
    assert first.headers["authorization"] == "Bearer abcd"
    assert not {"authorization", "x-key"} & last.headers.keys()
    assert last.headers["content-type"] == "application/x-protobuf"


@pytest.mark.promise("CORE-33", "CORE-05")
def test_a_doubled_slash_is_none(run, gateway: Gateway) -> None:
    """A URL with a slash at its end, and the path put behind it: the Collector answers 301 to that."""
    gateway.answers["//v1/traces"] = moved(301, "/v1/traces")
    done = run(EXPORT, gateway.url("//v1/traces"), "", "{}")
    assert json.loads(done.stdout) == [True, 2, 0]
    assert [found.path for found in gateway.requests] == ["/v1/traces"]


@pytest.mark.promise("CORE-33")
@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_collector_may_answer_in_fewer_words(
    run, gateway: Gateway, status: int
) -> None:
    """Any 2xx, with or without a content type."""
    gateway.answers["/v1/traces"] = (status, {}, b"")
    done = run(EXPORT, gateway.url(), "", "{}")
    assert json.loads(done.stdout) == [True, 2, 0]


@pytest.mark.promise("CORE-06")
def test_the_exporter_adds_no_header_of_the_environment(run, gateway: Gateway) -> None:
    """Those given in code are all; the exporter of 1.45 would add the environment's."""
    environment = {"OTEL_EXPORTER_OTLP_HEADERS": "x-other=1,x-key=2"}
    done = run(EXPORT, gateway.url(), "", json.dumps({"x-key": "3"}), **environment)
    assert json.loads(done.stdout) == [True, 2, 0]
    [request] = gateway.requests
    assert request.headers["x-key"] == "3"
    assert "x-other" not in request.headers


PROVIDER = """
import requests

def make():
    session = requests.Session()
    session.headers["authorization"] = "Bearer of-the-provider"
    return lambda: session
"""


@pytest.mark.promise("CORE-33")
@pytest.mark.parametrize("redirects", [False, True])
def test_a_credential_provider_s_session_is_used_and_watched(
    run, gateway: Gateway, tmp_path: Path, redirects: bool
) -> None:
    """The exporters' own entry point for sessions that sign requests."""
    (tmp_path / "provider.py").write_text(
        PROVIDER.replace("return lambda: session", "return session")
    )
    info = tmp_path / "provider-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: provider\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        "[opentelemetry_otlp_credential_provider]\nmine = provider:make\n"
    )
    if redirects:
        gateway.answers["/v1/traces"] = moved(302, "/login")
    environment = {"OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER": "mine"}
    done = run(EXPORT, gateway.url(), "", "{}", **environment)
    assert json.loads(done.stdout) == [not redirects, 0 if redirects else 2, 0]
    assert gateway.requests[0].headers["authorization"] == "Bearer of-the-provider"
    assert ("it redirects (302)" in done.stderr) is redirects


@pytest.mark.promise("CORE-24", "CORE-33")
@pytest.mark.parametrize("signal", ["logs", "metrics"])
def test_an_answer_is_read_without_an_import(
    run, gateway: Gateway, signal: str
) -> None:
    """By a process that exports no span, too: a child forked during an import could never export."""
    gateway.answers[f"/v1/{signal}"] = (200, OK[1], b"\x0a\x00")
    finished = run(
        """
        import logging
        from opentelemetry.metrics import get_meter
        manager = setup_tracing(TracingConfig(
            service_name="s", collector_url=sys.argv[1], collector_protocol="http", **{sys.argv[2]: True},
        )).manager
        before = set(sys.modules)
        logging.getLogger("shop").warning("first")
        get_meter("shop").create_counter("orders").add(1)
        assert manager.flush(20)
        print(sorted(set(sys.modules) - before))
        """,
        gateway.url(),
        signal,
        OTEL_TRACES_EXPORTER="none",
    )
    assert finished.stdout.strip() == "[]"
    assert {request.path for request in gateway.requests} == {f"/v1/{signal}"}


@pytest.mark.promise("CORE-33")
@pytest.mark.parametrize("configured", ["/the/collector/ca.pem", False, True])
def test_a_configured_certificate_goes_before_that_of_requests(
    monkeypatch: pytest.MonkeyPatch, configured: str | bool
) -> None:
    """``OTEL_EXPORTER_OTLP_CERTIFICATE`` is the session's from OpenTelemetry 1.45 on; ``REQUESTS_CA_BUNDLE`` is of others."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/company.pem")
    seen: list[object] = []

    class Adapter(requests.adapters.HTTPAdapter):
        def send(
            self, request: Any, *_: object, verify: object = None, **__: object
        ) -> requests.Response:
            seen.append(verify)
            answer = requests.Response()
            answer.status_code, answer.request = 200, request
            answer.raw = BytesIO()
            return answer

    with CollectorSession({}) as session:
        session.verify = configured
        session.mount("https://", Adapter())
        session.request("POST", "https://collector/v1/traces", data=b"")
        session.request("POST", "https://collector/v1/traces", verify="/given.pem")
    by_default = "/etc/ssl/company.pem" if configured is True else configured
    assert seen == [by_default, "/given.pem"]
