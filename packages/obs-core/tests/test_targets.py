"""Which target is instrumented with which options."""

from __future__ import annotations

import gc

import pytest
from obs_core.integration import Targets, instrument_once


class Client: ...


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def targets(log: list[str]) -> Targets[str]:
    def connect():
        log.append("connect")
        return lambda: log.append("disconnect")

    return Targets(connect)


def test_a_single_target_wins_over_all(targets: Targets[str]) -> None:
    """In both orders; each undo takes back its own value alone."""
    one, other = Client(), Client()
    undo_one, undo_all = targets.add(one, "one"), targets.add(None, "all")
    assert (targets.find(one), targets.find(other)) == ("one", "all")
    assert sorted(targets) == ["all", "one"]
    undo_one()
    assert (targets.find(one), targets.find(Client())) == ("all", "all")
    undo_all()
    assert (targets.find(one), list(targets), bool(targets)) == (None, [], False)


def test_connects_for_the_first_target_and_disconnects_after_the_last(
    targets: Targets[str], log: list[str]
) -> None:
    """Once, however many targets; again after a disconnect; an undo that is called twice changes nothing."""
    one, other = Client(), Client()
    undos = [
        targets.add(one, "one"),
        targets.add(other, "other"),
        targets.add(None, "all"),
    ]
    assert log == ["connect"]
    for undo in [*undos, *undos]:
        undo()
    assert log == ["connect", "disconnect"]
    targets.add(one, "again")
    assert log == ["connect", "disconnect", "connect"]


def test_keeps_no_target_alive(targets: Targets[str], log: list[str]) -> None:
    """A target that is gone needs no undo: the next target does not connect twice, and its undo disconnects."""
    gone = Client()
    undo_gone = targets.add(gone, "gone")
    del gone
    gc.collect()
    assert not targets
    undo_next = targets.add(None, "next")
    undo_gone()
    assert (log, targets.find(Client())) == (["connect"], "next")
    undo_next()
    assert log == ["connect", "disconnect"]


def test_connects_nothing_where_connecting_fails(log: list[str]) -> None:
    """The exception passes through `instrument_once`; a second call tries again."""

    def connect():
        log.append("connect")
        raise RuntimeError("no such method")

    targets: Targets[str] = Targets(connect)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no such method"):
            instrument_once("targets", lambda: targets.add(None, "all"))
    assert (log, bool(targets)) == (["connect", "connect"], False)
