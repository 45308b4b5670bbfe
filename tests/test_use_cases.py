"""The users' own use cases run, with the new packages' names and with the import paths of 1.0."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from obs_core.testing import OtlpSink

HERE = Path(__file__).parent.parent / "examples" / "use_cases"
OLD_PATHS = {
    "from obs_core import": "from distributed_observability import",
    "from obs_celery import": "from distributed_observability.framework.celery import",
    "from obs_db import": "from distributed_observability.framework.database import",
    "from obs_aws import": "from distributed_observability.framework.database import",
    "from obs_grpc import": "from distributed_observability.framework.grpc import",
}
EXPECTED = {
    "fastapi_celery": {
        ("POST /process", "SERVER"),
        ("publish my-service.process_task", "PRODUCER"),
    },
    "llm": {("llm.openai.chat", "INTERNAL")},
    "databases": {
        ("SELECT", "CLIENT"),
        ("SET", "CLIENT"),
        ("DynamoDB.GetItem", "CLIENT"),
    },
    "grpc_service": {
        ("demo.Greeter/Hello", "CLIENT"),
        ("demo.Greeter/Hello", "SERVER"),
    },
    "http_edges": {("GET", "CLIENT"), ("GET /orders/{number}", "SERVER")},
    "production": {("__main__.work", "INTERNAL")},
}


def run(name: str, code: str, sink: OtlpSink, redis_url: str) -> None:
    """Run an example's code as a script; fail with what it said."""
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": sink.url,
        "REDIS_URL": redis_url,
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{name}:\n{done.stderr}"


def old_code(name: str) -> str:
    """The same with the import paths of 1.0; HTTP has a script of its own, for 1.0's functions were others."""
    of_its_own = HERE / f"{name}_1_0.py"
    code = (of_its_own if of_its_own.exists() else HERE / f"{name}.py").read_text(
        encoding="utf-8"
    )
    for new, old in OLD_PATHS.items():
        code = code.replace(new, old)
    return code


@pytest.mark.promise("OLD-01")
@pytest.mark.parametrize("paths", ["new", "old"])
@pytest.mark.parametrize("name", EXPECTED)
def test_use_case(name: str, paths: str, otlp_sink: OtlpSink, redis_url: str) -> None:
    """Each makes the spans that it is about, in one trace where it is one request."""
    code = (
        old_code(name)
        if paths == "old"
        else (HERE / f"{name}.py").read_text(encoding="utf-8")
    )
    assert paths == "new" or not re.search(r"\bobs_", code)
    run(name, code, otlp_sink, redis_url)
    spans = otlp_sink.spans
    assert EXPECTED[name] <= {(span.name, span.kind) for span in spans}
    if name in ("fastapi_celery", "llm", "grpc_service", "http_edges"):
        assert len({span.trace_id for span in spans}) == 1
    if name == "production":
        assert 50 < len(spans) < 150
    if name == "http_edges":
        (server,) = [span for span in spans if span.kind == "SERVER"]
        user = (
            "user.id" if paths == "new" else "http.request.header.x-amzn-oidc-identity"
        )
        assert (
            str(server.attributes[user]).strip("[](),'"),
            server.attributes["correlation_id"],
        ) == ("ada", "c-1")
