"""Run the three services on embedded parts and show three requests, each as one trace: ``nox -s demo``.

Needs no server and no network: Redis, PostgreSQL, DynamoDB, the LLM provider and the OTLP receiver all run here.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import parts
import redis
from obs_view import Receiver, render_trace
from rich.console import Console

HERE = Path(__file__).parent
USER = "dana@example.com"
REQUESTS = {
    "good": ("pixel-9", "a device that boots"),
    "failing": ("broken", "a device that does not answer: the task is retried, then fails"),
    "slow": ("slow", "a device behind a slow query"),
}
console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)


def say(text: str) -> None:
    """Print a line of progress."""
    console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {text}")


class Services:
    """The processes of the three services."""

    def __init__(self, environment: dict[str, str], logs: Path) -> None:
        self._logs = logs
        self._environment = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self, name: str, folder: str, *command: str) -> None:
        """Start one process of a service; its own output is shown only when it fails."""
        log = (self._logs / name).open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=HERE / folder, env=self._environment, stdout=log, stderr=log
        )
        self._running.append((name, process))
        say(f"started [bold]{name}[/bold] (pid {process.pid})")

    def check(self) -> None:
        """Raise with its last lines when a process has ended by itself."""
        for name, process in self._running:
            if process.poll() is not None:
                lines = (self._logs / name).read_text(errors="replace").splitlines()[-15:]
                raise SystemExit(f"{name} ended with status {process.returncode}:\n" + "\n".join(lines))

    def stop(self) -> None:
        """Ask every process to stop as a supervisor would, all at once, and wait for each."""
        for _, process in self._running:
            process.send_signal(signal.SIGTERM)
        for name, process in self._running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                say(f"[red]{name} did not stop within 15 s[/red]")


def wait_until(ready: Callable[[], bool], what: str, services: Services, timeout_s: float = 60) -> None:
    """Wait for `ready`, or fail with what a dead process last said."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        services.check()
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether an HTTP server is there."""
    try:
        httpx.get(url, timeout=1)
    except httpx.TransportError:
        return False
    return True


@contextlib.contextmanager
def running(receiver: Receiver) -> Iterator[tuple[Services, dict[str, str]]]:
    """Start the parts and the services; stop everything on the way out."""
    with contextlib.ExitStack() as stack:
        say("starting Redis, PostgreSQL, DynamoDB and an LLM provider …")
        ports = {name: parts.free_port() for name in ("front", "genymotion", "llm", "dynamodb", "rating")}
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.grpc_url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "ENVIRONMENT": "demo",
            "REDIS_URL": stack.enter_context(parts.redis()),
            "DATABASE_URL": stack.enter_context(parts.postgres()),
            "DYNAMODB_URL": f"http://127.0.0.1:{ports['dynamodb']}",
            "LLM_URL": f"http://127.0.0.1:{ports['llm']}",
            "RATING_TARGET": f"127.0.0.1:{ports['rating']}",
            "GENYMOTION_URL": f"http://127.0.0.1:{ports['genymotion']}",
            "FRONT_URL": f"http://127.0.0.1:{ports['front']}",
            "AWS_ACCESS_KEY_ID": "demo",
            "AWS_SECRET_ACCESS_KEY": "demo",
            "AWS_DEFAULT_REGION": "eu-west-1",
        }
        services = Services(environment, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="obs-demo-"))))
        stack.callback(services.stop)
        start_all(services, ports)
        wait_until(
            lambda: answers(environment["DYNAMODB_URL"]) and answers(environment["LLM_URL"]), "the parts' start", services
        )
        create_table(environment)
        urls = (environment["FRONT_URL"], environment["GENYMOTION_URL"])
        wait_until(lambda: all(answers(f"{url}/health") for url in urls), "the services' start", services)
        yield services, environment


def start_all(services: Services, ports: dict[str, int]) -> None:
    """Start every process, the parts first."""
    quiet = ("--log-level", "warning")
    services.start("dynamodb", ".", "moto.server", "-p", str(ports["dynamodb"]))
    services.start("llm-provider", ".", "uvicorn", "fake_llm:app", "--port", str(ports["llm"]), *quiet)
    services.start("enricher-rating", "enricher", "rating")
    services.start("enricher-worker", "enricher", *celery_worker("enricher"))
    services.start("genymotion-worker", "genymotion", *celery_worker("genymotion"))
    services.start("genymotion", "genymotion", "uvicorn", "api:app", "--port", str(ports["genymotion"]), *quiet)
    services.start("test-management", "test_management", "uvicorn", "app:app", "--port", str(ports["front"]), *quiet)


def celery_worker(name: str) -> tuple[str, ...]:
    """The command of a prefork worker for the queue of that name."""
    return (
        *("celery", "-A", "worker:celery", "worker", "--loglevel", "warning"),
        *("--concurrency", "2", "--queues", name, "--hostname", f"{name}@%h"),
    )


def create_table(environment: dict[str, str]) -> None:
    """Create enricher's table."""
    import boto3

    client = boto3.client(
        "dynamodb",
        endpoint_url=environment["DYNAMODB_URL"],
        region_name="eu-west-1",
        aws_access_key_id="demo",
        aws_secret_access_key="demo",
    )
    client.create_table(
        TableName="runs",
        KeySchema=[{"AttributeName": "run", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "run", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def send(url: str, run: str, device: str) -> None:
    """Send one request as a load balancer would pass it on: with the signed-in user's identity."""
    headers = {"x-amzn-oidc-identity": USER, "X-Correlation-ID": f"demo-{run}"}
    httpx.post(f"{url}/runs", params={"name": run, "device": device}, headers=headers, timeout=30).raise_for_status()


def is_done(cache: redis.Redis, run: str) -> bool:
    """Whether the last task of a request has done its work."""
    return cache.get(f"state:{run}") == b"failed" or cache.get(f"described:{run}") is not None


def show(receiver: Receiver) -> int:
    """Print each request's trace and a summary; 1 when a request is not one whole trace."""
    problems = 0
    for run, (_, meaning) in REQUESTS.items():
        traces = [trace for trace in receiver.traces() if f"demo-{run}" in trace.correlation_ids]
        console.rule(f"[bold]{run}[/bold]: {meaning}")
        for trace in traces:
            render_trace(trace, console=console)
        problems += len(traces) != 1
    wanted = {f"demo-{run}" for run in REQUESTS}
    requests = [trace for trace in receiver.traces() if wanted & set(trace.correlation_ids)]
    services = {span.service for trace in requests for span in trace.spans}
    spans = sum(len(trace.spans) for trace in requests)
    console.rule()
    verdict = "each request is one whole trace" if not problems else f"[red]{problems} requests are not one trace[/red]"
    console.print(f"{len(REQUESTS)} requests → {len(requests)} traces, {spans} spans from {len(services)} services: {verdict}.")
    return int(problems > 0)


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C, and print its addresses")
    options = parser.parse_args()
    with Receiver(port=0, grpc_port=0) as receiver:
        with running(receiver) as (services, environment):
            say("sending three requests …")
            for run, (device, _) in REQUESTS.items():
                send(environment["FRONT_URL"], run, device)
            with redis.Redis.from_url(environment["REDIS_URL"]) as cache:
                wait_until(lambda: all(is_done(cache, run) for run in REQUESTS), "the tasks' end", services)
            if options.keep:
                keep(services, environment, receiver)
            say("stopping every process right after its last task …")
        return show(receiver)


def keep(services: Services, environment: dict[str, str], receiver: Receiver) -> None:
    """Wait for Ctrl-C."""
    say(f"try: curl -X POST '{environment['FRONT_URL']}/runs?name=mine&device=pixel-9' -H 'X-Correlation-ID: mine'")
    say(f"OTLP: {receiver.http_url} and {receiver.grpc_url}. Ctrl-C stops everything and shows the traces.")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            services.check()
            time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
