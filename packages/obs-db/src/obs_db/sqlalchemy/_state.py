"""Which engines are traced, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from obs_core.integration import call_contained
from opentelemetry.util.types import AttributeValue

from obs_db._call import Origin, peer_attributes
from obs_db._chosen import Chosen
from obs_db._options import SqlOptions
from obs_db._semconv import SQL, with_former_names
from obs_db.sqlalchemy._attributes import system_name, url_attributes
from obs_db.sqlalchemy._connection import connection_attributes, url_is_enough
from obs_db.sqlalchemy._metrics import PoolGauges, pool_gauges
from obs_db.sqlalchemy._n_plus_one import Repeats

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.engine.interfaces import Dialect


# asyncio drivers run in greenlets
_LIBRARY = frozenset({"sqlalchemy", "greenlet"})


class TracedEngine(Origin):
    """An engine's options, and the parts of spans that never change."""

    __slots__ = (
        "_anywhere",
        "_url_is_enough",
        "attributes",
        "dialect",
        "fallback_name",
        "repeats",
        "sql_options",
    )

    def __init__(self, engine: Engine, options: SqlOptions, repeats: Repeats | None) -> None:
        super().__init__(options, _LIBRARY)
        self.sql_options = options
        self.dialect = engine.dialect.name
        self.fallback_name = system_name(engine)
        self._anywhere = self.named(
            {"db.system.name": self.fallback_name, **peer_attributes(options)}
        )
        self.attributes = {**self._anywhere, **self.named(url_attributes(engine))}
        self.repeats = repeats
        self._url_is_enough: bool | None = None

    def attributes_of(
        self, connection: Connection, *, may_ask: bool
    ) -> Mapping[str, AttributeValue]:
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
        return {**self._anywhere, **self.named(found)} if found else self.attributes

    def named(self, attributes: Mapping[str, AttributeValue]) -> Mapping[str, AttributeValue]:
        """Return `attributes` under their former names as well, where those are wanted."""
        return with_former_names(attributes, SQL) if self.options.former_names else attributes


class _Choice:
    """A call of `instrument_sqlalchemy`: the options, and the state that the engines share."""

    def __init__(self, options: SqlOptions) -> None:
        self.options = options
        self.repeats = (
            Repeats(options.n_plus_one_threshold) if options.n_plus_one_threshold else None
        )
        self.gauges: PoolGauges = pool_gauges(options.meter_provider)
        self.engines: WeakSet[Engine] = WeakSet()


class TracedEngines:
    """Engines by their dialect, which each engine shares with its ``execution_options()`` copies.

    Held weakly. Thread-safe: each change replaces or clears as a whole, and cleared values are found
    again.
    """

    def __init__(self) -> None:
        self._chosen: Chosen[Dialect, _Choice] = Chosen()
        self._found: WeakKeyDictionary[Dialect, TracedEngine | None] = WeakKeyDictionary()

    def choose(self, engine: Engine | None, options: SqlOptions) -> None:
        """Trace `engine` with `options`; None: every engine without options of its own."""
        self._chosen.set(engine.dialect if engine is not None else None, _Choice(options))
        self._found = WeakKeyDictionary()
        if engine is not None:
            self._find(engine)

    def forget(self, dialect: Dialect | None) -> None:
        """Take the choice for that engine, or for every engine, back."""
        choice = self._chosen.take_back(dialect)
        self._found = WeakKeyDictionary()
        if choice is not None:
            for engine in list(choice.engines):
                choice.gauges.discard(engine)
                self._find(engine)

    def get(self, engine: Engine) -> TracedEngine | None:
        """Return the tracing of `engine`, or None if not traced. Never raises."""
        try:
            return self._found[engine.dialect]
        except KeyError:
            return self._find(engine)

    def _find(self, engine: Engine) -> TracedEngine | None:
        choice, traced = self._chosen.of(engine.dialect), None
        if choice is not None:
            traced = call_contained(
                "sqlalchemy", TracedEngine, engine, choice.options, choice.repeats
            )
            choice.engines.add(_root(engine))
            choice.gauges.add(_root(engine))
        self._found[engine.dialect] = traced
        return traced


def _root(engine: Engine) -> Engine:
    """Return the engine that `execution_options()` made `engine` of: the copy may go while the pool stays."""
    inner: Engine | None = getattr(engine, "_proxied", None)
    return engine if inner is None else _root(inner)
