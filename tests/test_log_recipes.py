"""The recipes of docs/logs.md: what structlog and loguru log arrives as what `logging` logs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from obs_core.testing import OtlpSink, SinkLog

PAGE = Path(__file__).parent.parent / "docs" / "logs.md"
PROCESSOR_FORMATTER = """
import logging
import structlog
from obs_core import TracingConfig, setup_tracing

setup_tracing(TracingConfig(service_name="orders", logs=True))
handler = logging.StreamHandler()
handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=structlog.dev.ConsoleRenderer()))
logging.basicConfig(level=logging.INFO, handlers=[handler])
structlog.configure(
    processors=[
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)
log = structlog.get_logger("shop.orders").bind(order=7)
log.info("placed %s", "today", token="t0p")
try:
    raise TimeoutError("no answer")
except TimeoutError:
    log.exception("failed")
"""


def recipe(heading: str) -> str:
    """Return the example below a heading of the page."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1]


def exported(script: str, sink: OtlpSink, folder: Path) -> list[SinkLog]:
    """Run `script` and return what it has logged."""
    file = (
        folder / "script.py"
    )  # before Python 3.13 a stack trace has lines of files only
    file.write_text(script)
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": sink.url}
    command = [sys.executable, str(file)]
    subprocess.run(command, env=environment, check=True, timeout=60)
    return sink.wait_for_logs(2)


@pytest.mark.promise("CORE-95")
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(recipe("structlog"), id="structlog"),
        pytest.param(PROCESSOR_FORMATTER, id="ProcessorFormatter"),
        pytest.param(recipe("loguru"), id="loguru"),
    ],
)
def test_recipe(script: str, otlp_sink: OtlpSink, tmp_path: Path) -> None:
    """Message, level, what is bound as attributes, secrets masked, the exception as such and not in the message."""
    placed, failed = exported(script, otlp_sink, tmp_path)
    assert (placed.body, placed.severity, placed.severity_text) == (
        "placed today",
        9,
        "INFO",
    )
    assert (placed.attributes["order"], placed.attributes["token"]) == (7, "[REDACTED]")
    assert (failed.body, failed.severity_text) == ("failed", "ERROR")
    assert failed.attributes["exception.type"] == "TimeoutError"
    assert failed.attributes["exception.message"] == "no answer"
    assert "raise TimeoutError" in failed.attributes["exception.stacktrace"]
