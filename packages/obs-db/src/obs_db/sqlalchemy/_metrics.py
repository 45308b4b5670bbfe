"""Pool gauges that cannot drift: each observation reads the pool.

Contrib counts events, and misses detach, invalidate and dispose:
https://github.com/open-telemetry/opentelemetry-python-contrib/issues/1158.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from obs_core.integration import call_contained
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from obs_db._semconv import SQL
from obs_db.sqlalchemy._attributes import pool_name

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


#: The metric, and its attributes for the pool's name and for the state of connections.
_STABLE = (
    "db.client.connection.count",
    "db.client.connection.pool.name",
    "db.client.connection.state",
)
_FORMER = ("db.client.connections.usage", "pool.name", "state")


class PoolGauges:
    """Observes ``db.client.connection.count`` (idle and used) of the engines added.

    Engines are held weakly. Thread-safe. A forked child observes the child's own pools.
    """

    def __init__(self, provider: MeterProvider | None) -> None:
        self._engines: WeakSet[Engine] = WeakSet()
        meter = metrics.get_meter("obs_db", meter_provider=provider)
        conventions = [_STABLE]
        if SQL.in_force():
            conventions.append(_FORMER)
        for metric, pool, state in conventions:
            meter.create_observable_up_down_counter(
                metric,
                callbacks=[partial(self._observe, pool, state)],
                unit="{connection}",
                description="The number of connections that are currently in the state described by the state attribute.",
            )

    def add(self, engine: Engine) -> None:
        """Observe the pool of `engine` from now on."""
        self._engines.add(engine)

    def discard(self, engine: Engine) -> None:
        """Leave `engine` alone from now on."""
        self._engines.discard(engine)

    def _observe(
        self, pool: str, state: str, _: CallbackOptions
    ) -> Iterable[Observation]:
        for engine in list(self._engines):
            yield from (
                call_contained("pool gauges", _observations, engine, pool, state) or ()
            )


def _observations(engine: Engine, pool: str, state: str) -> list[Observation]:
    observations = []
    for is_in, count in (("used", "checkedout"), ("idle", "checkedin")):
        read = getattr(engine.pool, count, None)
        if read is not None:
            observations.append(
                Observation(read(), {pool: pool_name(engine), state: is_in})
            )
    return observations


_of_provider: WeakKeyDictionary[MeterProvider, PoolGauges] = WeakKeyDictionary()
_global: list[PoolGauges] = []


def pool_gauges(provider: MeterProvider | None) -> PoolGauges:
    """Return the gauges of `provider` (None: the global provider).

    Always the same gauges: an instrument cannot be taken back.
    """
    if provider is None:
        if not _global:
            _global.append(PoolGauges(None))
        return _global[0]
    found = _of_provider.get(provider)
    if found is None:
        found = _of_provider.setdefault(provider, PoolGauges(provider))
    return found
