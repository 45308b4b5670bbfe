"""The three demo services under load for minutes, while the collector fails at random: each request, and the memory.

The collector is gone, busy or turns requests away for some seconds, again and again, as the seed says. Each accepted
request must be there whole in the end: as many spans as any has. Resident memory, threads and descriptors of all processes
are added up every two seconds; the last quarter is compared with the second.

    python benchmarks/soak.py [--minutes 30] [--rate 2] [--seed 20] [--curves FILE]
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "services"))

import demo
import httpx
import psutil
import redis
from obs_core.testing import OtlpSink, wait_until

#: How the collector fails: refused connections (None), or an answer. An outage ends before the exporters have given a batch up.
FAULTS: tuple[int | None, ...] = (None, 503, 429)
LONGEST_S = 6.0


class Collector:
    """A sink that can refuse new connections for a while; the spans are kept."""

    def __init__(self) -> None:
        self._sinks = [OtlpSink().__enter__()]
        self.url = self._sinks[0].url
        self.faults: Counter[str] = Counter()

    def fail(self, fault: int | None, seconds: float, is_over: threading.Event) -> None:
        """Refuse connections, or answer with `fault`, for so long."""
        self.faults[f"{fault or 'refused'}"] += 1
        if fault is None:
            self._sinks[-1].__exit__(None, None, None)
        # connections of before outlive their server: each has a thread of its own
        self._respond(fault or 503)
        is_over.wait(seconds)
        self._respond(200)
        if fault is None:
            self._sinks.append(OtlpSink(self._sinks[0].port).__enter__())

    def _respond(self, status: int) -> None:
        for sink in self._sinks:
            sink.respond = status

    def close(self) -> None:
        """Refuse connections from now on."""
        self._sinks[-1].__exit__(None, None, None)

    def spans_by_request(self) -> Counter[str]:
        """Count the spans, each once, by the request's correlation id."""
        spans = {span.span_id: span for sink in self._sinks for span in sink.spans}
        return Counter(
            str(span.attributes.get("correlation_id")) for span in spans.values()
        )


@dataclass(frozen=True)
class Sample:
    """What all processes of the services have at one moment."""

    at_s: float
    rss_mb: float
    threads: int
    descriptors: int
    processes: int


@dataclass
class Soak:
    """The load, the faults and the samples of one run."""

    rate: float
    seed: int
    collector: Collector = field(default_factory=Collector)
    accepted: list[str] = field(default_factory=list)
    refused: int = 0
    samples: list[Sample] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def run(self, url: str, seconds: float) -> None:
        """Send requests at the rate while the collector fails; return when all threads have ended."""
        threads = [
            threading.Thread(target=self._fail_at_random),
            threading.Thread(target=self._sample),
        ]
        for thread in threads:
            thread.start()
        began, sent = time.monotonic(), 0
        with ThreadPoolExecutor(8) as pool:
            while time.monotonic() - began < seconds:
                pool.submit(self._send, url, f"soak-{sent}")
                sent += 1
                time.sleep(max(0.0, began + sent / self.rate - time.monotonic()))
        self.is_over.set()
        for thread in threads:
            thread.join()

    def _send(self, url: str, name: str) -> None:
        parameters = {"name": name, "device": "pixel-9"}
        headers = {"X-Correlation-ID": name}
        response = httpx.post(
            f"{url}/runs", params=parameters, headers=headers, timeout=60
        )
        if response.is_success:
            self.accepted.append(name)
        else:
            self.refused += 1

    def _fail_at_random(self) -> None:
        chance = random.Random(self.seed)
        while not self.is_over.wait(chance.uniform(5.0, 20.0)):
            fault, seconds = chance.choice(FAULTS), chance.uniform(1.0, LONGEST_S)
            self.collector.fail(fault, seconds, self.is_over)

    def _sample(self) -> None:
        began = time.monotonic()
        while not self.is_over.wait(2.0):
            self.samples.append(sample(time.monotonic() - began))


def sample(at_s: float) -> Sample:
    """Add up what the processes below this one have."""
    rss, threads, descriptors, processes = 0, 0, 0, 0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "python" in process.name():
                rss += process.memory_info().rss
                threads += process.num_threads()
                descriptors += process.num_fds()
                processes += 1
    return Sample(at_s, rss / 1e6, threads, descriptors, processes)


def growth(samples: list[Sample], name: str) -> str:
    """Return the medians of the second and of the last quarter."""
    values = [getattr(each, name) for each in samples]
    quarter = max(1, len(values) // 4)
    early = statistics.median(values[quarter : 2 * quarter])
    late = statistics.median(values[-quarter:])
    return f"{early:.0f} → {late:.0f}"


def wait_for_tasks(environment: dict[str, str], names: list[str]) -> None:
    """Wait until the last task of each request has done its work."""
    with redis.Redis.from_url(environment["REDIS_URL"]) as cache:
        wait_until(
            lambda: all(cache.exists(f"described:{name}") for name in names), 300
        )


def main() -> None:
    """Soak, and print the account."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--curves", type=Path)
    asked = parser.parse_args()
    soak = Soak(asked.rate, asked.seed)
    settings = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": soak.collector.url,
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    }
    with demo.running(soak.collector.url, **settings) as (_, environment):
        soak.run(environment["FRONT_URL"], asked.minutes * 60)
        wait_for_tasks(environment, soak.accepted)
    found = soak.collector.spans_by_request()
    soak.collector.close()
    sizes = Counter(found[name] for name in soak.accepted)
    whole = max(sizes)
    print(f"seed {asked.seed}: faults {dict(soak.collector.faults)}")
    print(f"requests: {len(soak.accepted)} accepted, {soak.refused} refused")
    print(f"spans of a request → requests: {dict(sorted(sizes.items()))}")
    for name in ("rss_mb", "threads", "descriptors", "processes"):
        print(f"{name}: {growth(soak.samples, name)}")
    if asked.curves:
        lines = [",".join(map(str, astuple(each))) for each in soak.samples]
        asked.curves.write_text("\n".join(lines) + "\n", encoding="utf-8")
    short = [name for name in soak.accepted if found[name] < whole]
    sys.exit(f"{len(short)} requests are not whole: {short[:10]}" if short else None)


if __name__ == "__main__":
    main()
