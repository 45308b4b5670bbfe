"""Print the table of all faults: ``python -m tests.faults [--rates 300 3000] [--seconds 3] [name …]``.

Exits with 1 if a span is unexplained, doubled without leave, or an error reached the application.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.faults.drill import Account, drill, untraced_p99_us
from tests.faults.incidents import has_own_mounts
from tests.faults.table import FAULTS, Fault

HEAD = (
    "| fault | protocol | spans/s | errors | p99 of a call, µs (untraced) | made | received | counted as lost "
    "| doubled | unexplained | recovered in, s |\n|---|---|" + "---:|" * 9
)


def complaints(fault: Fault, found: Account) -> list[str]:
    """Return what `found` has that `fault` may not have."""
    wrong = []
    if found.errors:
        wrong.append(f"{found.errors} errors in the application")
    if found.unexplained > 0:
        wrong.append(f"{found.unexplained} spans neither received nor counted")
    if found.unexplained < 0 and not fault.may_double:
        wrong.append(f"{-found.unexplained} spans counted as lost, though received")
    if found.doubled and not fault.may_double:
        wrong.append(f"{found.doubled} spans doubled")
    if fault.is_spooled and found.counted and not fault.may_lose:
        wrong.append(f"{found.counted} spans lost, though there is a spool")
    return wrong


def row(
    fault: Fault, protocol: str, rate: float, found: Account, untraced: float
) -> str:
    """Return a line of the table."""
    recovered = "-" if found.recovered_s is None else f"{found.recovered_s:.1f}"
    cells = (
        fault.name,
        protocol,
        f"{rate:.0f}",
        f"{found.errors}",
        f"{found.p99_us:.0f} ({untraced:.0f})",
        f"{found.made}",
        f"{found.received}",
        f"{found.counted}",
        f"{found.doubled}",
        f"{found.unexplained}",
        recovered,
    )
    return f"| {' | '.join(cells)} |"


def measure(rate: float, seconds: float, names: list[str]) -> list[str]:
    """Run the faults at one rate, print a line each, and return all complaints."""
    untraced, wrong = untraced_p99_us(rate, int(rate * 2)), []
    chosen = [fault for fault in FAULTS if not names or fault.name in names]
    for fault in chosen:
        if fault.needs_own_mounts and not has_own_mounts():
            print(f"| {fault.name} | not run: `unshare` gives no mounts here |")
            continue
        for protocol in fault.protocols:
            with tempfile.TemporaryDirectory() as folder:
                found = drill(fault, protocol, rate, Path(folder), seconds)
            print(row(fault, protocol, rate, found, untraced), flush=True)
            wrong += [
                f"{fault.name}, {protocol}, {rate:.0f}/s: {what}"
                for what in complaints(fault, found)
            ]
    return wrong


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", nargs="+", type=float, default=(300.0, 3000.0))
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    print(HEAD, flush=True)
    wrong = [
        what
        for rate in asked.rates
        for what in measure(rate, asked.seconds, asked.names)
    ]
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
