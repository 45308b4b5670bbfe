"""The options of the command ``obs-view``."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from obs_view._cors import OriginError, checked_origin
from obs_view._otlp import LEVELS
from obs_view._store import MAX_AGE_S, MAX_SPANS
from obs_view._text import nanoseconds

_ABOUT = """\
See your traces with no backend: an OTLP receiver for development.

Point any OpenTelemetry exporter here, of any language:
  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317   grpc
  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318   http/protobuf or http/json

The web page is at http://localhost:4318."""
_NOT_FOR_PRODUCTION = """\
A development tool: traces are kept in memory and nothing is authenticated.
Production sends to an OpenTelemetry Collector."""
_FIRST_WORDS = ("serve", "tail", "show", "demo", "-h", "--help", "--version")
_AS_WRITTEN = argparse.RawDescriptionHelpFormatter

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def parse_options(argv: list[str] | None) -> argparse.Namespace:
    """Return the options of `argv` (default: the process's arguments); ``command`` is the subcommand."""
    given = list(sys.argv[1:] if argv is None else argv)
    is_named = bool(given) and given[0] in _FIRST_WORDS
    if not is_named:
        given.insert(0, "serve")
    return _parser().parse_args(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "obs-view",
        description=_ABOUT,
        epilog=_NOT_FOR_PRODUCTION,
        formatter_class=_AS_WRITTEN,
    )
    parser.add_argument(
        "--version", action="version", version=f"obs-view {version('obs-view')}"
    )
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command"
    )
    _add_serve(commands)
    _add_tail(commands)
    _add_show(commands)
    _add_demo(commands)
    return parser


def _add_serve(commands: _Commands) -> None:
    serve = commands.add_parser(
        "serve",
        help="receive, and show a web page: the default",
        epilog=_NOT_FOR_PRODUCTION,
    )
    serve.description, serve.formatter_class = _ABOUT, _AS_WRITTEN
    _add_receiver(serve)
    serve.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="OTLP-JSON files to show from the start",
    )


def _add_tail(commands: _Commands) -> None:
    tail = commands.add_parser(
        "tail", help="print each finished trace as a tree", epilog=_NOT_FOR_PRODUCTION
    )
    tail.description, tail.formatter_class = _ABOUT, _AS_WRITTEN
    _add_receiver(tail)
    _add_filters(tail)
    tail.add_argument(
        "--no-fold",
        dest="fold",
        action="store_false",
        help="print each of the one-span traces that are alike, as a poller makes them",
    )


def _add_show(commands: _Commands) -> None:
    show = commands.add_parser("show", help="print the traces of an OTLP-JSON file")
    show.add_argument(
        "file",
        type=Path,
        help="one OTLP-JSON document, or one a line as `obs-view tail --json` writes them",
    )
    _add_filters(show)


def _add_demo(commands: _Commands) -> None:
    demo = commands.add_parser(
        "demo",
        help="run three example services, print their traces, keep the page open",
    )
    demo.description = "Run three example services on parts that pip brings: the extra `demo`, or this says how to get it."
    _add_ports(demo)


def _add_ports(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("ports and page").add_argument
    add(
        "--port",
        "--http-port",
        type=int,
        default=4318,
        metavar="N",
        help="OTLP/HTTP, 0: any free one (default: 4318)",
    )
    add(
        "--grpc-port",
        type=int,
        default=4317,
        metavar="N",
        help="OTLP/gRPC, 0: any free one (default: 4317)",
    )
    add("--open", action="store_true", help="open the web page in a browser")


def _add_receiver(parser: argparse.ArgumentParser) -> None:
    _add_ports(parser)
    group = parser.add_argument_group("receiver")
    _add_access(group)
    _add_storage(group)


def _add_access(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="what to bind; mind who can reach it (default: loopback)",
    )
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="serve HTTP under this name too; repeatable",
    )
    add(
        "--allow-origin",
        action="append",
        default=[],
        type=_origin,
        metavar="ORIGIN",
        help="let web pages of this origin send spans (CORS), as http://localhost:3000, *: any; repeatable",
    )


def _add_storage(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--db",
        metavar="FILE",
        help="keep traces in this SQLite file too, for the next start (default: memory alone)",
    )
    add(
        "--max-spans",
        type=int,
        default=MAX_SPANS,
        metavar="N",
        help="spans kept in memory (default: %(default)s)",
    )
    add(
        "--max-age",
        type=_seconds,
        default=MAX_AGE_S,
        metavar="TIME",
        help="how long traces are kept (default: a day)",
    )


def _add_filters(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("which traces, and how").add_argument
    add("--service", metavar="NAME", help="only traces that pass through this service")
    add("--errors", action="store_true", help="only traces with a failed span")
    add(
        "--min-duration",
        type=_nanoseconds,
        default=0,
        metavar="TIME",
        help="only traces this long: 250ms, 1.5s, 2min",
    )
    add(
        "--log-level",
        type=str.upper,
        choices=(*LEVELS, "OFF"),
        default="WARN",
        metavar="LEVEL",
        help="least level of the log records that are printed with their span, or off (default: warn)",
    )
    add(
        "--json",
        action="store_true",
        help="print an OTLP-JSON document a line instead of a tree",
    )


def _nanoseconds(text: str) -> int:
    try:
        return nanoseconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _origin(text: str) -> str:
    try:
        return checked_origin(text)
    except OriginError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _seconds(text: str) -> float:
    return _nanoseconds(text) / 1e9
