"""``python -m obs_core doctor``: check the set-up of tracing, and that the collector takes spans."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from obs_core._doctor.report import examine


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status: 0 healthy, 1 not healthy, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m obs_core", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    doctor = commands.add_parser(
        "doctor",
        help="check settings, instrumentations, versions, the collector and fork hazards",
    )
    doctor.add_argument(
        "--app",
        metavar="MODULE:APP",
        help="import this first, as the server would: its set-up is examined",
    )
    doctor.add_argument(
        "--timeout",
        type=float,
        default=2.0,
        metavar="S",
        help="longest wait for the collector, in all (default 2 s)",
    )
    options = parser.parse_args(arguments)
    _keep_exporters_quiet()
    report = examine(options.app, options.timeout)
    sys.stdout.write(report.render() + "\n")
    return 0 if report.is_healthy else 1


def _keep_exporters_quiet() -> None:
    """The application's own export goes on meanwhile: its complaints would come in between, and the report says them."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for name in ("opentelemetry.exporter", "obs_core.export", "urllib3"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False


if __name__ == "__main__":
    sys.exit(main())
