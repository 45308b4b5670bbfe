"""What obs-core's bootstrap costs: import time, memory, and exit with a dead collector, beside the plain SDK.

Run: python benchmarks/bootstrap.py [--rounds N]. Contestants take turns round by round, each in a new interpreter with its
bytecode compiled. Import times are CPU time: the minimum, since whatever else the machine does only adds to it, and the
median; memory is the median of peaks.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

SDK = "import opentelemetry.trace, opentelemetry.sdk.trace\n"
EXPORTER = "import opentelemetry.exporter.otlp.proto.http.trace_exporter\n"
IMPORTS = {
    "sdk": SDK,
    "sdk + obs_core": SDK + "import obs_core\n",
    "logfire": "import logfire\n",
}
RSS = "import resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
URL = "http://127.0.0.1:{port}"
SDK_SETUP = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.{protocol}.trace_exporter import OTLPSpanExporter
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint="http://127.0.0.1:{port}{path}")))
trace.set_tracer_provider(provider)
"""
OBS_SETUP = """
from opentelemetry import trace
from obs_core import TracingConfig, setup_tracing
setup_tracing(TracingConfig(service_name="s", collector_url="http://127.0.0.1:{port}", collector_protocol="{protocol}"))
"""
SPANS = """
import time
tracer = trace.get_tracer("bench")
for _ in range({count}): tracer.start_span("span").end()
print(time.monotonic(), flush=True)
"""


def run(code: str) -> str:
    """Return what `code` prints, in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def import_ms(code: str) -> float:
    timed = f"import time\nbegan = time.process_time()\n{code}print((time.process_time() - began) * 1000)"
    return float(run(timed))


def rss_mb(code: str) -> float:
    return float(run(code + RSS))


def exit_s(setup: str, port: int, protocol: str, count: int) -> float:
    path = "/v1/traces" if protocol == "http" and setup is SDK_SETUP else ""
    out = run(
        setup.format(port=port, protocol=protocol, path=path)
        + SPANS.format(count=count)
    )
    return time.monotonic() - float(out)


def compare(
    contestants: dict[str, str], measure: Callable[[str], float], rounds: int
) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for code in contestants.values():
        measure(code)  # compiles the bytecode
    for _ in range(rounds):
        for name, code in contestants.items():
            taken[name].append(measure(code))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    contestants = {
        name: code
        for name, code in IMPORTS.items()
        if name != "logfire" or find_spec("logfire")
    }
    times = compare(contestants, import_ms, rounds)
    print(
        f"import, ms of CPU time, {rounds} rounds: minimum, median (obs_core is allowed 15 over the SDK)"
    )
    for name, values in times.items():
        print(f"  {name:16} {min(values):7.1f} {statistics.median(values):7.1f}")
    added = [
        ours - sdk
        for sdk, ours in zip(times["sdk"], times["sdk + obs_core"], strict=True)
    ]
    least = min(times["sdk + obs_core"]) - min(times["sdk"])
    print(f"  obs_core adds    {least:7.1f} {statistics.median(added):7.1f}")
    with socket.socket() as refusing, socket.socket() as silent:
        refusing.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        port = refusing.getsockname()[1]
        sdk = (
            SDK
            + EXPORTER
            + SDK_SETUP.format(port=port, protocol="http", path="/v1/traces")
        )
        contestants = {
            "sdk": sdk,
            "obs_core": SDK + EXPORTER + OBS_SETUP.format(port=port, protocol="http"),
        }
        memory = compare(contestants, rss_mb, rounds)
        print(
            "set up with the http exporter, peak RSS in MB (obs_core is allowed 2 over the SDK)"
        )
        for name, values in memory.items():
            print(f"  {name:16} {statistics.median(values):7.1f}")
        print(
            "exit after the last statement, s (obs_core is allowed exit_timeout_s = 2 and the interpreter's time)"
        )
        for collector, at in (("refused", port), ("silent", silent.getsockname()[1])):
            for protocol in ("grpc", "http"):
                for count in (1, 2000):
                    sdk_s, obs_s = (
                        exit_s(setup, at, protocol, count)
                        for setup in (SDK_SETUP, OBS_SETUP)
                    )
                    print(
                        f"  {collector:8} {protocol} {count:5} spans   sdk {sdk_s:5.1f}   obs_core {obs_s:5.1f}"
                    )


if __name__ == "__main__":
    main()
