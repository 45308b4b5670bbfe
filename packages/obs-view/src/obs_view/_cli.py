"""The command ``obs-view`` and the subcommands."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import webbrowser
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from obs_view._bad_records import LOGS, METRICS, SPANS, BadRequestError, Parsed
from obs_view._console import print_line
from obs_view._demo import run_demo
from obs_view._fold import Folder
from obs_view._follow import Finished, Follower
from obs_view._options import parse_options
from obs_view._read_json import parse_json
from obs_view._receiver import Receiver
from obs_view._render import render_trace
from obs_view._store import Store
from obs_view._text import plural
from obs_view._trace import Trace

_SIGNALS = (SPANS, LOGS, METRICS)


class Document(NamedTuple):
    """The spans, log records and metrics of an OTLP-JSON document."""

    spans: Parsed
    logs: Parsed
    metrics: Parsed


class NothingReadableError(OSError):
    """A file holds no span."""


def main(argv: list[str] | None = None) -> int:
    """Run the command with `argv` (default: the process's arguments); return the exit status."""
    options = parse_options(argv)
    try:
        _COMMANDS[options.command](options)
    except BrokenPipeError:
        # whoever reads us, as `head`, has enough; the interpreter must not flush into the closed pipe on its way out
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, BadRequestError) as error:
        _say(str(error))
        return 1
    return 0


def _say(text: str) -> None:
    """Tell the user; standard output is for traces alone."""
    sys.stderr.write(f"obs-view: {text}\n")
    sys.stderr.flush()


def _serve(options: argparse.Namespace) -> None:
    documents = [document for file in options.files for document in _read(file)]
    with _receiver(options) as (receiver, stop):
        _take(documents, receiver.store)
        # a signal's handler runs between two waits
        while not stop.wait(0.5):
            pass


def _tail(options: argparse.Namespace) -> None:
    with _receiver(options) as (receiver, stop):
        finished = Follower(receiver.store).follow(stop)
        wanted = (item for item in finished if _wanted(item.trace, options))
        shown: Iterable[Finished | str] = wanted
        if options.fold and not options.json:
            shown = Folder().pass_on(wanted)
        for item in shown:
            _print(item, receiver.store, options)


@contextmanager
def _receiver(
    options: argparse.Namespace,
) -> Iterator[tuple[Receiver, threading.Event]]:
    """Run a receiver, and say where; the event is set by SIGINT and SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    receiver = Receiver(
        options.port,
        options.grpc_port,
        host=options.host,
        allowed_hosts=options.allow_host,
        allowed_origins=options.allow_origin,
        max_spans=options.max_spans,
        max_age_s=options.max_age,
        db=options.db,
    )
    with receiver:
        _say(
            f"OTLP/gRPC on {receiver.grpc_url}, OTLP/HTTP and the page on {receiver.http_url}; Ctrl-C ends"
        )
        if options.open:
            webbrowser.open(receiver.http_url)
        yield receiver, stop


def _show(options: argparse.Namespace) -> None:
    store = Store(max_spans=sys.maxsize)
    _take(_read(options.file), store)
    if not store.count:
        raise NothingReadableError(f"{options.file} holds no span that can be read")
    for trace in store.traces():
        if _wanted(trace, options):
            _print(Finished(trace, 0), store, options)


def _read(file: Path) -> list[Document]:
    """Read OTLP-JSON of all signals: a document a line, or a single document; report unreadable parts."""
    content = file.read_bytes()
    lines = content.strip().splitlines()
    one_a_line = all(
        line.startswith(b"{") and line.rstrip().endswith(b"}") for line in lines
    )
    found = []
    for text in lines if lines and one_a_line else [content]:
        document = Document(*(parse_json(text, kind) for kind in _SIGNALS))
        for parsed, kind in zip(document, _SIGNALS, strict=True):
            if parsed.rejected:
                records = plural(parsed.rejected, kind.noun)
                _say(f"{file}: {records} cannot be read: {parsed.reason:.300}")
        found.append(document)
    return found


def _take(documents: Iterable[Document], store: Store) -> None:
    for document in documents:
        store.add(document.spans.request)
        store.logs.add(document.logs.request)
        store.metrics.add(document.metrics.request)


def _print(item: Finished | str, store: Store, options: argparse.Namespace) -> None:
    if isinstance(item, str):
        print_line(item)
    else:
        _print_trace(*item, store, options)
    sys.stdout.flush()


def _print_trace(
    trace: Trace, before: int, store: Store, options: argparse.Namespace
) -> None:
    if options.json:
        sys.stdout.write(
            json.dumps(store.export(trace.trace_id), separators=(",", ":")) + "\n"
        )
    else:
        note = (
            f"again, with {plural(len(trace.spans) - before, 'span')} more"
            if before
            else ""
        )
        others = map(store.get, store.linked(trace.trace_id)[1:])
        render_trace(
            trace,
            note=note,
            linked=[other for other in others if other],
            log_level=options.log_level,
        )
        sys.stdout.write("\n")


def _wanted(trace: Trace, options: argparse.Namespace) -> bool:
    return (
        (options.service is None or options.service in trace.services)
        and (not options.errors or trace.errors > 0)
        and trace.duration >= options.min_duration
    )


_COMMANDS = {"serve": _serve, "tail": _tail, "show": _show, "demo": run_demo}
