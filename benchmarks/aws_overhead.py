"""What a call costs: bare, with contrib, with obs-aws; a DynamoDB GetItem answered without a network.

Ours runs on the provider of a set-up, contrib on the SDK's.
Each contestant runs in its own process, round by round in turn; the figures are the processor time of its best batch, which is
the least disturbed by whatever else the machine does. Run it as ``python benchmarks/aws_overhead.py [rounds]``.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from providers import our_provider
from table import head, row

CONTESTANTS = ("bare", "contrib", "ours")
BATCHES, CALLS = 8, 60


class Stub:
    """Answers each request at once, as the network would."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def __call__(self, request: Any, **_: object) -> Any:
        from io import BytesIO

        from botocore.awsrequest import AWSResponse

        raw = BytesIO(self.body)
        raw.stream = lambda: iter([self.body])  # type: ignore[attr-defined]
        return AWSResponse(
            request.url,
            200,
            {"x-amzn-RequestId": "r", "Content-Type": "application/x-amz-json-1.0"},
            raw,
        )


def instrument(contestant: str, sampled: bool) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

    if contestant == "ours":
        our_provider(float(sampled))
    else:
        trace.set_tracer_provider(
            TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF)
        )
    if contestant == "contrib":
        from opentelemetry.instrumentation.botocore import BotocoreInstrumentor

        BotocoreInstrumentor().instrument()
    elif contestant == "ours":
        from obs_aws import instrument_boto3

        instrument_boto3()


def measure(contestant: str, sampled: bool) -> float:
    """Return the best microseconds a call of all batches."""
    import botocore.session

    instrument(contestant, sampled)
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    client = botocore.session.Session().create_client(
        "dynamodb", region_name="us-east-1", **keys
    )
    client.meta.events.register("before-send", Stub(b'{"Item": {"id": {"S": "1"}}}'))
    best = float("inf")
    for _ in range(BATCHES):
        started = time.process_time()
        for _ in range(CALLS):
            client.get_item(TableName="orders", Key={"id": {"S": "1"}})
        best = min(best, (time.process_time() - started) / CALLS * 1e6)
    return best


def main(rounds: int) -> None:
    """Print the cost of each contestant, and ours against contrib's."""
    print(head("µs added to a GetItem", CONTESTANTS[1:]))
    for sampled in (True, False):
        commands = {
            name: [sys.executable, __file__, name, str(int(sampled))]
            for name in CONTESTANTS
        }
        taken = [
            {
                name: float(subprocess.check_output(command))
                for name, command in commands.items()
            }
            for _ in range(rounds)
        ]
        print(
            row("sampled" if sampled else "unsampled", CONTESTANTS[1:], taken),
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print(measure(sys.argv[1], sys.argv[2] == "1"))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
