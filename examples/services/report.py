"""The report of the demo: each request's trace, and whether it is whole."""

from collections import Counter
from typing import NamedTuple

from obs_view import Receiver, Trace, render_trace
from processes import console
from rich.table import Table

USER = "dana@example.com"


class Request(NamedTuple):
    """One of the demo's requests, and how many requests and tasks it must have led to."""

    device: str
    meaning: str
    servers: int
    tasks: int


REQUESTS = {
    "good": Request("pixel-9", "a device that boots", 3, 2),
    "failing": Request(
        "broken", "a device that does not answer: the task is retried, then fails", 2, 2
    ),
    "slow": Request("slow", "a device behind a slow query", 3, 2),
}


def of_request(receiver: Receiver, run: str) -> list[Trace]:
    """Return the traces that have spans of this request: one, where all is well."""
    return [
        trace for trace in receiver.traces() if f"demo-{run}" in trace.correlation_ids
    ]


def users(trace: Trace) -> tuple[int, int]:
    """Return on how many SERVER spans the signed-in user stands, and how many there are."""
    servers = [span for span in trace.spans if span.kind == "SERVER"]
    return sum(span.attributes.get("user.id") == USER for span in servers), len(servers)


def problems(run: str, traces: list[Trace]) -> list[str]:
    """Say what keeps a request from being one whole trace."""
    if len(traces) != 1:
        return [f"{run}: {len(traces)} traces"]
    (trace,), wanted = traces, REQUESTS[run]
    kinds = Counter(span.kind for span in trace.spans)
    there, servers = users(trace)
    found = {
        "parents are missing": not trace.complete,
        f"{servers} SERVER spans in place of {wanted.servers}": servers
        != wanted.servers,
        f"{kinds['CONSUMER']} tasks in place of {wanted.tasks}": kinds["CONSUMER"]
        != wanted.tasks,
        f"correlation ids {', '.join(trace.correlation_ids)}": len(
            trace.correlation_ids
        )
        != 1,
        f"the user is on {there} of {servers} SERVER spans": there != servers,
    }
    return [f"{run}: {problem}" for problem, true in found.items() if true]


def have_arrived(receiver: Receiver) -> bool:
    """Whether all requests are here as whole traces."""
    return not any(problems(run, of_request(receiver, run)) for run in REQUESTS)


def show(receiver: Receiver) -> int:
    """Print each request's trace and a summary; 1 when a request is not one whole trace."""
    for run, request in REQUESTS.items():
        console.print()
        console.rule(f"[bold]{run}[/bold]: {request.meaning}")
        for trace in of_request(receiver, run):
            render_trace(trace, console=console)
    console.print()
    console.rule("[bold]summary[/bold]")
    return summary({run: of_request(receiver, run) for run in REQUESTS})


def summary(found: dict[str, list[Trace]]) -> int:
    """Print a line a request, who made the spans, and the verdict."""
    table = Table(
        "request",
        "trace",
        "spans",
        "services",
        "correlation id",
        "user on SERVER spans",
        "errors",
        box=None,
    )
    requests = [(run, trace) for run, traces in found.items() for trace in traces]
    for run, trace in requests:
        there, servers = users(trace)
        numbers = (str(len(trace.spans)), str(len(trace.services)))
        user = f"{USER}, {there} of {servers}"
        table.add_row(
            run,
            trace.trace_id,
            *numbers,
            " ".join(trace.correlation_ids),
            user,
            str(trace.errors),
        )
    console.print(table)
    spans = [span for _, trace in requests for span in trace.spans]
    makers = Counter(span.scope.partition(" ")[0] for span in spans)
    console.print(
        "spans made by "
        + ", ".join(f"{maker} {count}" for maker, count in sorted(makers.items()))
    )
    wrong = [
        problem for run, traces in found.items() for problem in problems(run, traces)
    ]
    verdict = (
        f"[red]not whole: {'; '.join(wrong)}[/red]"
        if wrong
        else "each request is one whole trace"
    )
    services = {span.service for span in spans}
    counts = f"{len(found)} requests → {len(requests)} traces, {len(spans)} spans from {len(services)} services"
    console.print(f"\n[bold]{counts}: {verdict}.[/bold]")
    return int(bool(wrong))
