"""--db: traces that outlive the process."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from obs_view import DatabaseError, Receiver
from obs_view._database import Database
from obs_view._store import Store

from .test_cli import command, send
from .test_http import a_span
from .test_store import batch, ids


@pytest.mark.promise("VIEW-01")
def test_traces_are_there_at_the_next_start(tmp_path: Path) -> None:
    """Killed without warning and started again, it shows what it had answered for."""
    file = str(tmp_path / "traces.db")
    with command("tail", "--db", file) as running:
        send(running, a_span(traceId="1" * 32, name="kept"))
    with command("tail", "--json", "--db", file) as running:
        assert '"name":"kept"' in running.read_until("kept")


@pytest.mark.promise("VIEW-05")
def test_the_file_is_bounded_as_the_memory_is(tmp_path: Path) -> None:
    """What the store forgets for its count, its age or by Clear is gone from the file too; repeated spans are there once."""
    file = str(tmp_path / "traces.db")
    store = Store(max_spans=5, database=Database(file))
    for trace in (1, 2, 2, 3):
        store.add(batch(trace, 1, 2))
    store.close()
    store = Store(database=Database(file))
    assert (ids(store), store.count) == ([2, 3], 4)
    store.clear()
    store.add(batch(7, *range(1, 9)))
    store.close()
    store = Store(max_spans=3, database=Database(file))
    assert (ids(store), store.count) == ([7], 3)
    store.close()
    store = Store(database=Database(file))
    assert store.count == 3
    store.close()
    store = Store(max_age_s=0, database=Database(file))
    assert store.traces() == []
    store.close()


@pytest.mark.promise("VIEW-06")
def test_a_file_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    """In use by another one, not SQLite, no such folder: one line with the fix."""
    file = tmp_path / "traces.db"
    database = Database(str(file))
    (tmp_path / "text.db").write_text(
        "not a database, but longer than its header would be " * 9
    )
    for path in (file, tmp_path / "text.db", tmp_path / "none" / "traces.db"):
        with pytest.raises(
            DatabaseError,
            match=r"cannot use .*\.db as database .*name another file with --db",
        ):
            Receiver(0, 0, db=str(path))
    database.close()


@pytest.mark.promise("VIEW-06")
def test_a_failing_disk_loses_nothing_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and traces go on coming."""
    database = Database(str(tmp_path / "traces.db"))
    store = Store(database=database)
    database._connection.execute("DROP TABLE obs_view_spans")
    store.add(batch(1, 1))
    store.add(batch(2, 1))
    assert ids(store) == [1, 2]
    assert [record.message for record in caplog.records] == [
        "obs-view cannot write its database; traces are kept in memory alone from now on"
    ]
    assert caplog.records[0].exc_info
    assert isinstance(caplog.records[0].exc_info[1], sqlite3.Error)
    database.close()
