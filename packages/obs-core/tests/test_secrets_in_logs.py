"""No secret of the settings in any log line, nor in the doctor's report, whoever writes it."""

from __future__ import annotations

import json

import pytest

SECRET = "s3cret-0123"

#: Ways in which people get the variable wrong, and some right ones that an exporter or gRPC refuses.
HEADERS = (
    f"Authorization: Bearer {SECRET}",
    f"authorization: Basic {SECRET}==",
    SECRET,
    f"{SECRET}=",
    f"{SECRET}==",
    f"x-key=a,{SECRET}",
    f"x-key=a;{SECRET}",
    f"={SECRET}",
    f"x key={SECRET}",
    f"Bearer {SECRET}=",
    f"x-key={SECRET}%0Aabc",
    f"x-key={SECRET}\u00e9",
    f"x!key={SECRET}",
    f"x-key-bin={SECRET}",
    f'{{"authorization": "Bearer {SECRET}"}}',
    f"authorization=Bearer%20{SECRET}",
    f"authorization='Bearer {SECRET}'",
)
CODE = ({"x!key": SECRET}, {"x-key-bin": SECRET}, {"authorization": f"Bearer {SECRET}"})
SCRIPT = """
logging.getLogger().setLevel(logging.DEBUG)
import json
from obs_core.__main__ import main
from obs_core.exceptions import ConfigurationError
url, protocol = sys.argv[1:3]
def attempt(headers=None):
    config = TracingConfig(service_name="s", collector_url=url, collector_protocol=protocol, headers=headers,
        export_timeout_s=0.2, exit_timeout_s=0.2)
    manager, _ = setup_tracing(config, replace=True)
    spans(1)
    manager.flush(2)
    print(manager.describe(), manager.status)
    main(["doctor", "--timeout=0.2"])
for number, value in enumerate(json.loads(sys.argv[3])):
    name = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")[number % 2]
    os.environ[name] = value
    attempt()
    del os.environ[name]
for headers in json.loads(sys.argv[4]):
    attempt(headers)
try:
    TracingConfig(service_name="s", headers=json.loads(sys.argv[5]))
except ConfigurationError as wrong:
    print(wrong)
"""


@pytest.mark.promise("CORE-34", "CORE-71")
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_no_line_quotes_a_header(run, refusing_port: int, protocol: str) -> None:
    """From the environment, however malformed, and from code; of set-up, exports and doctor, at any level."""
    swapped = {f"authorization: Bearer {SECRET}": "x"}
    given = map(json.dumps, (HEADERS, CODE, swapped))
    done = run(SCRIPT, f"http://127.0.0.1:{refusing_port}", protocol, *given)
    quoting = [
        line
        for line in f"{done.stdout}{done.stderr}".splitlines()
        if SECRET in line.lower()
    ]
    assert quoting == []
    assert done.stdout.count("not healthy") == len(HEADERS) + len(CODE)
    assert "headers: header 1 is not valid" in done.stdout
    assert "[REDACTED]" in done.stderr
