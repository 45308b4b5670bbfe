"""Run the three services on embedded parts and show three requests, each as one trace: ``nox -s demo``.

Needs no server and no network: Redis, PostgreSQL, DynamoDB, the LLM provider and the OTLP receiver all run here.
"""

import argparse
import contextlib
import os
import sys
import time
import webbrowser
from collections.abc import Iterator

os.environ.setdefault(
    "GRPC_VERBOSITY", "ERROR"
)  # else the receiver's gRPC server remarks on each process that is started
os.environ["NO_PROXY"] = os.environ["no_proxy"] = (
    "127.0.0.1,localhost"  # all that is called here is here
)

import httpx
import parts
import redis
from obs_view import PortInUseError, Receiver, render_trace
from processes import Services, answers, console, interrupt_when_told, say
from report import REQUESTS, USER, have_arrived, show


@contextlib.contextmanager
def running(
    endpoint: str, **settings: str
) -> Iterator[tuple[Services, dict[str, str]]]:
    """Start the parts and the services, which export to `endpoint`; stop everything on the way out."""
    say("starting Redis, PostgreSQL, DynamoDB and an LLM provider …")
    ports = {
        name: parts.free_port()
        for name in ("front", "genymotion", "llm", "dynamodb", "rating")
    }
    with Services() as services:
        services.environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "ENVIRONMENT": "demo",
            **services.wait_for_servers(),
            "DYNAMODB_URL": f"http://127.0.0.1:{ports['dynamodb']}",
            "LLM_URL": f"http://127.0.0.1:{ports['llm']}",
            "RATING_TARGET": f"127.0.0.1:{ports['rating']}",
            "GENYMOTION_URL": f"http://127.0.0.1:{ports['genymotion']}",
            "FRONT_URL": f"http://127.0.0.1:{ports['front']}",
            "AWS_ACCESS_KEY_ID": "demo",
            "AWS_SECRET_ACCESS_KEY": "demo",
            "AWS_DEFAULT_REGION": "eu-west-1",
            **settings,
        }
        start_all(services, ports)
        wait_for_all(services, services.environment)
        yield services, services.environment


def start_all(services: Services, ports: dict[str, int]) -> None:
    """Start every process, the parts first."""
    quiet = ("--log-level", "warning")
    services.start("dynamodb", ".", "moto.server", "-p", str(ports["dynamodb"]))
    services.start(
        "llm-provider",
        ".",
        "uvicorn",
        "fake_llm:app",
        "--port",
        str(ports["llm"]),
        *quiet,
    )
    services.start("enricher-rating", "enricher", "rating")
    services.start("enricher-worker", "enricher", *celery_worker("enricher"))
    services.start("genymotion-worker", "genymotion", *celery_worker("genymotion"))
    services.start(
        "genymotion",
        "genymotion",
        "uvicorn",
        "api:app",
        "--port",
        str(ports["genymotion"]),
        *quiet,
    )
    services.start(
        "test-management",
        "test_management",
        "uvicorn",
        "app:app",
        "--port",
        str(ports["front"]),
        *quiet,
    )


def celery_worker(name: str) -> tuple[str, ...]:
    """The command of a prefork worker for the queue of that name."""
    return (
        *("celery", "-A", "worker:celery", "worker", "--loglevel", "warning"),
        *("--concurrency", "2", "--queues", name, "--hostname", f"{name}@%h"),
    )


def wait_for_all(services: Services, environment: dict[str, str]) -> None:
    """Wait until the parts and the APIs answer and both workers take tasks."""
    from celery import Celery

    services.wait_until(
        lambda: all(answers(environment[name]) for name in ("DYNAMODB_URL", "LLM_URL")),
        "the parts' start",
    )
    create_table(environment)
    say("the parts are ready; waiting for the services …")
    urls = (environment["FRONT_URL"], environment["GENYMOTION_URL"])
    services.wait_until(
        lambda: all(answers(f"{url}/health") for url in urls), "the services' start"
    )
    with Celery(broker=environment["REDIS_URL"]) as celery:
        services.wait_until(
            lambda: len(celery.control.ping(timeout=0.3)) == 2, "the workers' start"
        )
    say("the services are ready")


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


def send_all(services: Services, environment: dict[str, str]) -> None:
    """Send the requests, and wait until the last task of each has done its work."""
    for run, request in REQUESTS.items():
        status = send(environment["FRONT_URL"], run, request.device)
        say(f"POST /runs?name={run}&device={request.device} → {status}")
    with redis.Redis.from_url(environment["REDIS_URL"]) as cache:
        for run in REQUESTS:
            services.wait_until(lambda run=run: is_done(cache, run), "the tasks' end")


def send(url: str, run: str, device: str) -> int:
    """Send one request as a load balancer would pass it on: with the signed-in user's identity."""
    headers = {"x-amzn-oidc-identity": USER, "X-Correlation-ID": f"demo-{run}"}
    response = httpx.post(
        f"{url}/runs",
        params={"name": run, "device": device},
        headers=headers,
        timeout=30,
    )
    return response.raise_for_status().status_code


def is_done(cache: redis.Redis, run: str) -> bool:
    """Whether the last task of a request has done its work."""
    return (
        cache.get(f"state:{run}") == b"failed"
        or cache.get(f"described:{run}") is not None
    )


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument(
        "--keep",
        action="store_true",
        help="leave the services and the page running until Ctrl-C",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=0,
        help="of the page and OTLP/HTTP; default: any free one",
    )
    parser.add_argument(
        "--grpc-port", type=int, default=0, help="of OTLP/gRPC; default: any free one"
    )
    parser.add_argument(
        "--open", action="store_true", help="with --keep: open the page in a browser"
    )
    options = parser.parse_args(argv)
    interrupt_when_told()
    try:
        with Receiver(options.port, options.grpc_port) as receiver:
            return run_with(receiver, keep=options.keep, browser=options.open)
    except PortInUseError as error:
        raise SystemExit(f"demo: {error}") from error
    except KeyboardInterrupt:
        say("stopped")
        return 130


def run_with(receiver: Receiver, *, keep: bool, browser: bool) -> int:
    """Send the requests through the services and show their traces."""
    with running(receiver.grpc_url) as (services, environment):
        send_all(services, environment)
        if keep:
            return show_and_keep(services, environment, receiver, browser)
        say("the last task has ended: stopping right now, which must lose no span")
    return show(receiver)


def show_and_keep(
    services: Services, environment: dict[str, str], receiver: Receiver, browser: bool
) -> int:
    """Show the traces while all runs on, and print those of further requests until Ctrl-C."""
    with contextlib.suppress(TimeoutError):
        receiver.wait_for(lambda _: have_arrived(receiver), timeout_s=15)
    status = show(receiver)
    if browser:
        webbrowser.open(receiver.http_url)
    console.print(
        f"\nThe page: [bold]{receiver.http_url}[/bold]    OTLP/gRPC: {receiver.grpc_url}"
    )
    console.print(
        f"A request of your own: curl -X POST '{environment['FRONT_URL']}/runs?name=mine&device=pixel-9'"
    )
    console.print("Its trace is printed here too. Ctrl-C stops everything.")
    with contextlib.suppress(KeyboardInterrupt):
        print_others(services, receiver)
    return status


def print_others(services: Services, receiver: Receiver) -> None:
    """Print each further trace once nothing more comes of it, until Ctrl-C."""
    shown = {trace.trace_id for trace in receiver.traces()}
    sizes: dict[str, int] = {}
    while True:
        for trace in receiver.traces():
            if (
                trace.trace_id not in shown
                and trace.complete
                and sizes.get(trace.trace_id) == len(trace.spans)
            ):
                shown.add(trace.trace_id)
                console.print()
                render_trace(trace, console=console)
            sizes[trace.trace_id] = len(trace.spans)
        services.check()
        time.sleep(2)


if __name__ == "__main__":
    sys.exit(main())
