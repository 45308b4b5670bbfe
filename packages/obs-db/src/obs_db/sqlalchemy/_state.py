"""The traced engines with their options, and the parts of spans that never change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from obs_core.integration import call_contained
from opentelemetry.util.types import AttributeValue

from obs_db._call import Origin
from obs_db._options import SqlOptions
from obs_db.sqlalchemy._attributes import system_name, url_attributes
from obs_db.sqlalchemy._connection import connection_attributes, url_is_enough
from obs_db.sqlalchemy._metrics import pool_gauges
from obs_db.sqlalchemy._n_plus_one import Repeats

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.engine.interfaces import Dialect


#: The packages between an engine and the application: see `SpanPolicy`. asyncio drivers run in greenlets.
LIBRARY = frozenset({"sqlalchemy", "greenlet", "obs_db"})


class TracedEngine(Origin):
    """An engine's options, and the parts of spans that never change."""

    __slots__ = (
        "_anywhere",
        "_url_is_enough",
        "attributes",
        "dialect",
        "fallback_name",
        "named",
        "options",
        "repeats",
    )

    def __init__(self, engine: Engine, options: SqlOptions, repeats: Repeats) -> None:
        super().__init__(options, LIBRARY)
        self.options = options
        #: Adds the former names of attributes, where those are wanted.
        self.named = options.former_names.added_to
        self.dialect = engine.dialect.name
        self.fallback_name = system_name(engine)
        system: dict[str, AttributeValue] = {"db.system.name": self.fallback_name}
        self._anywhere = self.named({**system, **options.peer_attributes()})
        self.attributes = {**self._anywhere, **self.named(url_attributes(engine))}
        self.repeats = repeats
        self._url_is_enough: bool | None = None

    def attributes_of(
        self, connection: Connection, *, may_ask: bool
    ) -> dict[str, AttributeValue]:
        """Return the attributes of each statement on `connection`.

        Args:
            connection: Of this engine.
            may_ask: Whether the database may be asked, where the driver does not know.
        """
        if self._url_is_enough is None:
            self._url_is_enough = url_is_enough(connection.engine)
        if self._url_is_enough:
            return self.attributes
        found = connection_attributes(connection, may_ask=may_ask)
        if not found:
            return self.attributes
        return {**self._anywhere, **self.named(found)}


class TracedEngines:
    """The engines of a call of `instrument_sqlalchemy`, by their dialect.

    Each engine shares its dialect with its ``execution_options()`` copies. Held weakly. Thread-safe.
    """

    def __init__(self, options: SqlOptions) -> None:
        self._options = options
        self._repeats = Repeats(options.n_plus_one_threshold)
        self._gauges = pool_gauges(options.meter_provider)
        self._observed: WeakSet[Engine] = WeakSet()
        self._traced: WeakKeyDictionary[Dialect, TracedEngine | None] = (
            WeakKeyDictionary()
        )

    def get(self, engine: Engine) -> TracedEngine | None:
        """Return the tracing of `engine`; None where describing the engine has failed. Never raises."""
        try:
            return self._traced[engine.dialect]
        except KeyError:
            self.observe(engine)
            traced = call_contained(
                "sqlalchemy", TracedEngine, engine, self._options, self._repeats
            )
            return self._traced.setdefault(engine.dialect, traced)

    def observe(self, engine: Engine) -> None:
        """Observe the pool of `engine` from now on."""
        root = _root(engine)
        self._observed.add(root)
        self._gauges.add(root)

    def forget(self) -> Iterator[Engine]:
        """Stop observing pools; yield each engine that was observed."""
        for engine in list(self._observed):
            self._gauges.discard(engine)
            yield engine


def _root(engine: Engine) -> Engine:
    """Return the engine that `execution_options()` made `engine` of: the copy may go while the pool stays."""
    inner: Engine | None = getattr(engine, "_proxied", None)
    return engine if inner is None else _root(inner)
