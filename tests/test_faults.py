"""Each fault of the table under live traffic, in its short form: every span is received or counted, and no call fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.__main__ import complaints
from tests.faults.drill import drill
from tests.faults.incidents import has_own_mounts
from tests.faults.table import FAULTS, Fault

#: Calls a second, and how long the fault lasts.
RATE, SECONDS = 300.0, 1.0
#: Longest time from the collector's return to a span that ended after it: the exporters wait longer with every try.
RECOVERY_S = 30.0
#: A call that waited for the collector would take seconds.
CALL_US = 500_000.0

SHORT = [
    pytest.param(fault, protocol, id=f"{fault.name}, {protocol}")
    for number, fault in enumerate(FAULTS)
    for protocol in (
        fault.protocols
        if fault.name.startswith("partial")
        else (fault.protocols[number % len(fault.protocols)],)
    )
]


@pytest.mark.soak
@pytest.mark.promise("CORE-27", "CORE-29", "CORE-33")
@pytest.mark.parametrize(("fault", "protocol"), SHORT)
def test_every_span_is_received_or_counted(
    fault: Fault, protocol: str, tmp_path: Path
) -> None:
    """Made = received + counted as lost; taken twice only where nobody could know better; no error in the application."""
    if fault.needs_own_mounts and not has_own_mounts():
        pytest.skip("this machine gives a process no mounts of its own (`unshare`)")
    found = drill(fault, protocol, RATE, tmp_path, SECONDS)
    assert complaints(fault, found) == []
    assert found.p99_us < CALL_US
    assert found.exit_s < 7.0
    if fault.loses:
        assert found.counted == found.made
    else:
        assert found.recovered_s is not None
        assert found.recovered_s < RECOVERY_S
