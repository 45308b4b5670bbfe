"""Which shapes of callable each tracing decorator handles: every cell is run, none is typed by hand.

    python benchmarks/decorator_shapes.py        prints a Markdown table

Needs: obs-core, logfire, ddtrace, sentry-sdk, traceloop-sdk. Each contestant has a process of its own; a column of blanks means
that it is not installed.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from time import sleep
from typing import Any, NamedTuple

CONTESTANTS = ("ours", "otel", "logfire", "ddtrace", "sentry", "traceloop")


class Record(NamedTuple):
    name: str
    id: Any
    parent: Any
    seconds: float
    error: bool
    exceptions: int = -1
    error_type: str = ""


@dataclass
class Contestant:
    decorate: Callable[[Any], Any]
    span: Callable[[str], AbstractContextManager[Any]]
    finished: Callable[[], list[Record]]
    current: Callable[[], Any]


class Seen:
    """The spans of one check."""

    def __init__(self, records: list[Record]) -> None:
        self.all = records
        self.ids = {record.id: record for record in records}

    def traced(self) -> list[Record]:
        return [r for r in self.all if r.name not in ("root", "body", "consumer")]

    def parent_of(self, name: str) -> list[str]:
        found = (self.ids.get(r.parent) for r in self.all if r.name == name)
        return [parent.name if parent else "" for parent in found]


def opentelemetry(decorate: Callable[[Any], Any], exporter: Any) -> Contestant:
    from opentelemetry import trace

    def finished() -> list[Record]:
        records = [
            Record(
                s.name, s.context.span_id, s.parent and s.parent.span_id, (s.end_time - s.start_time) / 1e9,
                s.status.status_code.name == "ERROR", sum(e.name == "exception" for e in s.events),
                str((s.attributes or {}).get("error.type", "")),
            )
            for s in exporter.get_finished_spans()
            if (s.attributes or {}).get("logfire.span_type") != "pending_span"
        ]  # fmt: skip
        exporter.clear()
        return records

    return Contestant(
        decorate,
        trace.get_tracer("shapes").start_as_current_span,
        finished,
        lambda: trace.get_current_span(),
    )


def in_memory(set_provider: bool = True) -> Any:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
        InMemorySpanExporter,
    )

    exporter = InMemorySpanExporter()
    if set_provider:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
    return exporter


def ours() -> Contestant:
    from obs_core import trace_function

    return opentelemetry(trace_function, in_memory())


def otel() -> Contestant:
    from opentelemetry import trace

    exporter = in_memory()
    return opentelemetry(
        lambda f: trace.get_tracer("otel").start_as_current_span("traced")(f), exporter
    )


def logfire() -> Contestant:
    import logfire
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    exporter = in_memory(set_provider=False)
    logfire.configure(
        send_to_logfire=False,
        console=False,
        additional_span_processors=[SimpleSpanProcessor(exporter)],
    )
    return opentelemetry(
        lambda f: logfire.instrument("traced", allow_generator=True)(f), exporter
    )


def traceloop() -> Contestant:
    from traceloop.sdk import Traceloop
    from traceloop.sdk.decorators import task

    exporter = in_memory(set_provider=False)
    Traceloop.init(
        exporter=exporter,
        disable_batch=True,
        telemetry_enabled=False,
        instruments=set(),
    )
    return opentelemetry(lambda f: task(name="traced")(f), exporter)


def ddtrace() -> Contestant:
    from ddtrace.trace import TraceFilter, tracer

    kept: list[Record] = []

    class Keep(TraceFilter):
        def process_trace(self, trace: Any) -> None:
            kept.extend(
                Record(
                    s.name,
                    s.span_id,
                    s.parent_id,
                    (s.duration or 0),
                    bool(s.error),
                    -1,
                    s.get_tag("error.type") or "",
                )
                for s in trace
            )

    tracer.configure(trace_processors=[Keep()])

    def finished() -> list[Record]:
        records, kept[:] = list(kept), []
        return records

    return Contestant(
        lambda f: tracer.wrap("traced")(f), tracer.trace, finished, tracer.current_span
    )


def sentry() -> Contestant:
    import sentry_sdk

    kept: list[Record] = []

    class Keep(sentry_sdk.transport.Transport):
        def capture_envelope(self, envelope: Any) -> None:
            from datetime import datetime

            for item in envelope.items:
                body = item.payload.json or {}
                if body.get("type") == "transaction":
                    kept.append(
                        Record(
                            "root", body["contexts"]["trace"]["span_id"], None, 0, False
                        )
                    )
                    for s in body["spans"]:
                        start, end = (
                            datetime.fromisoformat(str(s[key]).rstrip("Z"))
                            for key in ("start_timestamp", "timestamp")
                        )
                        error = (s.get("status") or "ok") != "ok"
                        kept.append(
                            Record(
                                s["description"],
                                s["span_id"],
                                s["parent_span_id"],
                                (end - start).total_seconds(),
                                error,
                            )
                        )

    sentry_sdk.init(
        dsn="http://k@127.0.0.1:9/1",
        transport=Keep,
        traces_sample_rate=1.0,
        default_integrations=False,
    )

    def span(name: str) -> AbstractContextManager[Any]:
        return (
            sentry_sdk.start_transaction(name="root")
            if name == "root"
            else sentry_sdk.start_span(name=name)
        )

    def finished() -> list[Record]:
        records, kept[:] = list(kept), []
        return records

    return Contestant(sentry_sdk.trace, span, finished, sentry_sdk.get_current_span)


Check = Callable[[Contestant], bool]
CHECKS: dict[str, Check] = {}


def check(title: str) -> Callable[[Check], Check]:
    def register(function: Check) -> Check:
        CHECKS[title] = function
        return function

    return register


def seen(c: Contestant, run: Callable[[], Any]) -> Seen:
    c.finished()
    with c.span("root"):
        run()
    gc.collect()
    return Seen(c.finished())


def once(c: Contestant, run: Callable[[], Any], seconds: float = 0.0) -> bool:
    traced = seen(c, run).traced()
    return len(traced) == 1 and traced[0].seconds >= seconds and not traced[0].error


@check("function")
def _function(c: Contestant) -> bool:
    return once(c, lambda: c.decorate(lambda: sleep(0.01))(), 0.01)


@check("coroutine: the span lasts until it returns")
def _coroutine(c: Contestant) -> bool:
    async def work() -> None:
        await asyncio.sleep(0.01)

    return once(c, lambda: asyncio.run(c.decorate(work)()), 0.009)


def slow(c: Contestant) -> Callable[[], Iterator[int]]:
    def items() -> Iterator[int]:
        for item in range(3):
            sleep(0.005)
            with c.span("body"):
                pass
            yield item

    return items


def slow_async(c: Contestant) -> Callable[[], AsyncIterator[int]]:
    async def items() -> AsyncIterator[int]:
        for item in range(3):
            await asyncio.sleep(0.005)
            with c.span("body"):
                pass
            yield item

    return items


def consume(c: Contestant, items: Iterator[int]) -> None:
    for _ in items:
        with c.span("consumer"):
            pass


async def consume_async(c: Contestant, items: AsyncIterator[int]) -> None:
    async for _ in items:
        with c.span("consumer"):
            pass


@check("generator: the span lasts until the last item")
def _generator(c: Contestant) -> bool:
    return once(c, lambda: consume(c, c.decorate(slow(c))()), 0.014)


@check("generator: spans of its body are its children, the consumer's are not")
def _generator_parents(c: Contestant) -> bool:
    found = seen(c, lambda: consume(c, c.decorate(slow(c))()))
    inside = {r.name for r in found.traced()}
    return set(found.parent_of("body")) == inside and set(
        found.parent_of("consumer")
    ) == {"root"}


@check("two generators in turn: right parents, nothing left behind")
def _interleaved(c: Contestant) -> bool:
    left: list[bool] = []

    def run() -> None:
        before = c.current()
        traced = c.decorate(slow(c))
        for _ in zip(traced(), traced(), strict=False):
            with c.span("consumer"):
                pass
        left.append(c.current() is before)

    found = seen(c, run)
    parents = {
        found.ids[r.parent].name if r.parent in found.ids else ""
        for r in found.traced()
    }
    whole = [r for r in found.traced() if r.seconds >= 0.014]
    return (
        left == [True]
        and set(found.parent_of("consumer")) == {"root"}
        and parents == {"root"}
        and len(whole) == 2
    )


@check("generator left early: no error")
def _break(c: Contestant) -> bool:
    def run() -> None:
        for _ in c.decorate(slow(c))():
            break

    return once(c, run, 0.004)


@check("generator: send, throw and return values")
def _protocol(c: Contestant) -> bool:
    def talk() -> Any:
        heard = yield 1
        try:
            yield heard
        except KeyError:
            return "done"

    with c.span("root"):
        talking = c.decorate(talk)()
        answers = [next(talking), talking.send("x")]
        try:
            talking.throw(KeyError())
        except StopIteration as stop:
            return answers == [1, "x"] and stop.value == "done"
    return False


@check("async generator: the span lasts until the last item")
def _async_generator(c: Contestant) -> bool:
    return once(
        c, lambda: asyncio.run(consume_async(c, c.decorate(slow_async(c))())), 0.014
    )


@check("async generator: spans of its body are its children, the consumer's are not")
def _async_parents(c: Contestant) -> bool:
    found = seen(c, lambda: asyncio.run(consume_async(c, c.decorate(slow_async(c))())))
    inside = {r.name for r in found.traced()}
    return set(found.parent_of("body")) == inside and set(
        found.parent_of("consumer")
    ) == {"root"}


@check("async generator: asend and athrow")
def _async_protocol(c: Contestant) -> bool:
    async def talk() -> Any:
        heard = yield 1
        try:
            yield heard
        except KeyError:
            yield "caught"

    async def run() -> bool:
        talking = c.decorate(talk)()
        return [
            await talking.asend(None),
            await talking.asend("x"),
            await talking.athrow(KeyError()),
        ] == [1, "x", "caught"]

    with c.span("root"):
        return asyncio.run(run())


@check("above @classmethod")
def _classmethod(c: Contestant) -> bool:
    class Shop:
        @c.decorate
        @classmethod
        def run(cls) -> type:
            return cls

    return once(c, lambda: Shop.run()) and Shop.run() is Shop


@check("above @staticmethod")
def _staticmethod(c: Contestant) -> bool:
    class Shop:
        @c.decorate
        @staticmethod
        def run(x: int) -> int:
            return x

    return once(c, lambda: Shop.run(1)) and Shop().run(1) == 1


@check("functools.partial of a coroutine function")
def _partial(c: Contestant) -> bool:
    async def work(x: int) -> None:
        await asyncio.sleep(0.01)

    return once(c, lambda: asyncio.run(c.decorate(functools.partial(work, 1))()), 0.009)


@check("object with async __call__")
def _callable(c: Contestant) -> bool:
    class Work:
        async def __call__(self) -> None:
            await asyncio.sleep(0.01)

    return once(c, lambda: asyncio.run(c.decorate(Work())()), 0.009)


@check("inspect.is…function answers as before")
def _inspect(c: Contestant) -> bool:
    async def work() -> None: ...

    return bool(
        inspect.iscoroutinefunction(c.decorate(work))
        and inspect.isgeneratorfunction(c.decorate(slow(c)))
        and inspect.isasyncgenfunction(c.decorate(slow_async(c)))
    )


@check("a class is rejected")
def _class(c: Contestant) -> bool:
    class Shop:
        pass

    with suppress(TypeError):
        c.decorate(Shop)
        return False
    return True


@check("an error is recorded once, with its qualified type")
def _error(c: Contestant) -> bool:
    def fail() -> None:
        raise json.JSONDecodeError("no", "x", 0)

    def run() -> None:
        with suppress(ValueError):
            c.decorate(fail)()

    (record,) = seen(c, run).traced()
    return (
        record.error
        and record.exceptions in (1, -1)
        and record.error_type == "json.decoder.JSONDecodeError"
    )


@check("a cancelled call is no error")
def _cancelled(c: Contestant) -> bool:
    async def work() -> None:
        await asyncio.sleep(60)

    async def run() -> None:
        task = asyncio.ensure_future(c.decorate(work)())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    return once(c, lambda: asyncio.run(run()))


def worker(name: str) -> None:
    answers, sys.stdout = sys.stdout, sys.stderr
    contestant = globals()[name]()
    results = {}
    for title, run in CHECKS.items():
        try:
            results[title] = run(contestant)
        except Exception:
            results[title] = False
    print(json.dumps(results), file=answers, flush=True)
    os._exit(0)


def main() -> None:
    if len(sys.argv) > 1:
        return worker(sys.argv[1])
    environment = {
        **os.environ, "TRACELOOP_TELEMETRY": "false", "DD_TRACE_LOG_LEVEL": "ERROR",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false", "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    }  # fmt: skip
    columns: dict[str, dict[str, bool]] = {}
    for name in CONTESTANTS:
        run = subprocess.run(
            [sys.executable, __file__, name],
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
        )
        columns[name] = json.loads(run.stdout) if run.stdout else {}
    print("| | " + " | ".join(CONTESTANTS) + " |")
    print("|---|" + ":-:|" * len(CONTESTANTS))
    for title in CHECKS:
        cells = (
            {True: "yes", False: "no", None: ""}[columns[name].get(title)]
            for name in CONTESTANTS
        )
        print(f"| {title} | " + " | ".join(cells) + " |")
    return None


if __name__ == "__main__":
    main()
