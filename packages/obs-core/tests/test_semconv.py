"""Former attribute names in addition to the stable names."""

from __future__ import annotations

import pytest
from obs_core.integration import (
    NO_FORMER_NAMES,
    FormerNames,
    semconv_opt_in,
    stable_semconv,
)
from opentelemetry.util.types import AttributeValue

VARIABLE = "OTEL_SEMCONV_STABILITY_OPT_IN"
NAMES = FormerNames(
    "database/dup",
    {"db.system.name": "db.system", "server.address": ("net.peer.name", "http.host")},
    {"db.system": {"oracle.db": "oracle"}.get},
)
STABLE: dict[str, AttributeValue] = {
    "db.system.name": "oracle.db",
    "server.address": "db",
    "server.port": 1521,
}


@pytest.mark.parametrize(
    ("variable", "wanted"),
    [("http, database/dup", True), ("database", False), ("", False), (None, False)],
)
def test_former_names_are_recorded_where_both_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, wanted: bool
) -> None:
    """As the environment says when it is asked."""
    monkeypatch.delenv(VARIABLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(VARIABLE, variable)
    assert NAMES.in_force() is (NAMES if wanted else NO_FORMER_NAMES)
    assert bool(NAMES.in_force()) is wanted


def test_former_names_come_in_addition() -> None:
    """A stable name may have had several names, and another value."""
    former = {"db.system": "oracle", "net.peer.name": "db", "http.host": "db"}
    assert NAMES.of(STABLE) == former
    assert NAMES.added_to(STABLE) == {**STABLE, **former}
    assert NO_FORMER_NAMES.added_to(STABLE) is STABLE
    assert NO_FORMER_NAMES.of(STABLE) == {}


def test_the_users_choice_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """`stable_semconv` decides where the user has not."""
    monkeypatch.setenv(VARIABLE, "rpc")
    stable_semconv()
    assert semconv_opt_in() == {"rpc"}
    monkeypatch.delenv(VARIABLE)
    stable_semconv()
    assert semconv_opt_in() == {"http", "database"}
