"""What tracing adds to a whole request, in machine instructions, which no busy machine changes; and by package, in calls.

The repeatable counterpart of `request_cost`, and of the FastAPI rows of `http_overhead` (the small service, whose handler does
nothing). valgrind counts the instructions of each contestant's process, by thread; needs ``valgrind`` and ``cc``. At 10 % and
1 % the figure is the mean of a sampled request's and an unsampled one's.

    python benchmarks/request_instructions.py [--requests 60]
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import request_cost
from sink import sink

JOBS = {
    "whole": ("bare", "contrib", "sdk", "ours"),
    "small": ("bare", "contrib", "native", "ours"),
}
RATES = {"100%": 1.0, "10%": 0.1, "1%": 0.01, "none": 0.0}
ENVIRONMENT = {"PYTHONHASHSEED": "0", "OTEL_BSP_SCHEDULE_DELAY": "600000"}
WARM_UP = 20
PARTS = ("sdk", "exporter", "instrumentation")
Run = Callable[[int], None]
Cost = tuple[float, float]


def sdk(rate: float, port: int) -> request_cost.Contestant:
    """Ours, with the SDK's spans and encoder."""
    os.environ["OBS_CORE_SPANS"] = "sdk"
    return request_cost.ours(rate, port)


def native(rate: float, port: int) -> request_cost.Contestant:
    """FastAPI's own tracing, on the SDK's provider, and nothing else."""
    _, _, flush = request_cost.contrib(rate, port)
    return request_cost.plain, request_cost.nothing, flush


def small_service(instrument: request_cost.Instrument) -> Any:
    """Make an application whose handler does nothing."""
    from celery import Celery
    from fastapi import FastAPI
    from httpx import AsyncClient
    from sqlalchemy import create_engine

    app = FastAPI()

    @app.get("/orders/{number}")
    async def order(number: int) -> dict[str, int]:
        return {"number": number}

    instrument(app, create_engine("sqlite://"), Celery("shop"), AsyncClient())
    return app


def contestant(name: str, rate: float, port: int, service: str) -> Run:
    """Set a contestant up; return what serves requests and exports their spans."""
    prepare = globals().get(name) or getattr(request_cost, name)
    decorate, instrument, flush = prepare(rate, port)
    if service == "small":
        app = small_service(instrument)
    else:
        app, _ = request_cost.service(decorate, instrument)
    loop = asyncio.new_event_loop()

    def run(count: int) -> None:
        loop.run_until_complete(request_cost.requests(app, count))
        while flush() is False:
            pass  # under valgrind it may take longer than a flush may

    return run


def in_child(job: str, port: int, work: Callable[[Run], None]) -> int:
    """Fork a process for a contestant, for starting each under valgrind takes minutes; return its pid when it has ended."""
    service, name, rate = job.split(",")
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return pid
    run = contestant(name, float(rate), port, service)
    run(WARM_UP)
    work(run)
    sys.stdout.flush()
    os._exit(0)


def build_switch(folder: Path) -> Path:
    """Compile the functions that switch valgrind's counting on and off."""
    source, library = folder / "switch.c", folder / "switch.so"
    source.write_text(
        "#include <valgrind/callgrind.h>\n"
        "void on(void) { CALLGRIND_START_INSTRUMENTATION; }\n"
        "void off(void) { CALLGRIND_STOP_INSTRUMENTATION; }\n"
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def be_counted(options: Any) -> None:
    import celery  # noqa: F401 - shared by the forked

    switch = ctypes.CDLL(options.switch)

    def count(run: Run) -> None:
        switch.on()
        run(options.requests)
        switch.off()

    for job in options.jobs:
        print(in_child(job, options.port, count), job, flush=True)


def instructions(jobs: list[str], requests: int, port: int) -> dict[str, Cost]:
    """Return the thousands of instructions of a request of each job: of the thread that serves it, and of all others."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        command = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no"]
        command += ["--separate-threads=yes", f"--callgrind-out-file={name}/out.%p"]
        command += [sys.executable, __file__, f"--requests={requests}"]
        command += [f"--port={port}", f"--switch={build_switch(folder)}"]
        environment = {**os.environ, **ENVIRONMENT}
        answer = subprocess.run(
            [*command, "--jobs", *jobs],
            env=environment,
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        )
        pids = (line.split() for line in answer.stdout.splitlines())
        return {job: spent(folder, pid, requests) for pid, job in pids}


def spent(folder: Path, pid: str, requests: int) -> Cost:
    counts = Counter[bool]()
    for file in folder.glob(f"out.{pid}-*"):
        lines = file.read_text().splitlines()
        totals = [int(line.split()[1]) for line in lines if line.startswith("totals:")]
        counts[file.name.endswith("-01")] += sum(totals)
    return counts[True] / requests / 1e3, counts[False] / requests / 1e3


def compare(service: str, requests: int, port: int) -> None:
    """Print a table: instructions of the serving thread and of all others, and ours beside each."""
    names = JOBS[service]
    jobs = [f"{service},{name},{rate}" for name in names for rate in (1.0, 0.0)]
    found = instructions(jobs, requests, port)
    print(f"\n{service} request, thousands of instructions (serving + other threads)")
    print("sampled", *names, "ours beside", sep=" | ")
    for title, rate in RATES.items():
        costs = {
            name: mixed(
                found[f"{service},{name},1.0"], found[f"{service},{name},0.0"], rate
            )
            for name in names
        }
        cells = [f"{serving:.0f} + {others:.0f}" for serving, others in costs.values()]
        print(title, *cells, beside(costs), sep=" | ", flush=True)


def mixed(sampled: Cost, unsampled: Cost, rate: float) -> Cost:
    first, second = (
        rate * yes + (1 - rate) * no for yes, no in zip(sampled, unsampled, strict=True)
    )
    return first, second


def beside(costs: dict[str, Cost]) -> str:
    """Return what ours adds to the bare request, beside what each of the others adds."""
    added = {name: sum(cost) - sum(costs["bare"]) for name, cost in costs.items()}
    peers = [name for name in costs if name not in ("bare", "ours")]
    return ", ".join(f"{name} {added['ours'] / added[name]:.2f}" for name in peers)


@cache
def package(file: str) -> str:
    """Return the package of a source file; of ours, of OpenTelemetry and FastAPI's telemetry, the part."""
    parts = Path(file).parts
    ours = [number for number, part in enumerate(parts) if part.startswith("obs_")]
    if ours:
        return ".".join(parts[ours[-1] :][:2]).removesuffix(".py")
    if "site-packages" not in parts:
        return "the service" if "benchmarks" in parts else "standard library"
    inner = parts[parts.index("site-packages") + 1 :]
    depth = 2 if inner[0] == "opentelemetry" or "telemetry" in inner[:2] else 1
    if depth == 2 and inner[1] in PARTS:
        depth = 3
    return ".".join(inner[:depth]).removesuffix(".py")


def by_package(run: Run, requests: int) -> None:
    """Print the function calls, in Python and C, and the bytecode instructions of a request, by package and thread."""
    calls, codes = Counter[str](), Counter[str]()
    serving = threading.get_ident()

    def place(code: Any) -> str:
        thread = "" if threading.get_ident() == serving else ", export thread"
        return package(code.co_filename) + thread

    def called(frame: Any, event: str, _: object) -> None:
        if event in ("call", "c_call"):
            calls[place(frame.f_code)] += 1

    def executed(code: Any, _: int) -> None:
        codes[place(code)] += 1

    threading.setprofile_all_threads(called)
    run(requests)
    threading.setprofile_all_threads(None)
    tools = sys.monitoring
    tools.use_tool_id(tools.PROFILER_ID, "by_package")
    tools.register_callback(tools.PROFILER_ID, tools.events.INSTRUCTION, executed)
    tools.set_events(tools.PROFILER_ID, tools.events.INSTRUCTION)
    run(requests)
    tools.set_events(tools.PROFILER_ID, 0)
    for name, count in [*codes.most_common(), ("total", codes.total())]:
        called_in = calls.total() if name == "total" else calls[name]
        print(f"  {name:45} {called_in / requests:7.0f} {count / requests:9.0f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--switch")
    parser.add_argument(
        "--jobs", nargs="*", default=["whole,bare,1.0", "whole,ours,1.0"]
    )
    options = parser.parse_args()
    if options.switch:
        return be_counted(options)
    os.environ.update(ENVIRONMENT)
    with sink() as port:
        for service in JOBS:
            compare(service, options.requests, port)
        for job in options.jobs:
            print(f"\n{job}: calls and bytecode instructions of a request", flush=True)
            in_child(job, port, lambda run: by_package(run, options.requests))
    return None


if __name__ == "__main__":
    main()
