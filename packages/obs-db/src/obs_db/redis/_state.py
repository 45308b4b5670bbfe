"""Which Redis clients are traced, and how."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from obs_core.exceptions import ConfigurationError
from opentelemetry.util.types import AttributeValue

from obs_db._call import Origin, peer_attributes
from obs_db._chosen import Chosen
from obs_db._options import Options
from obs_db._semconv import REDIS, with_former_names

_LIBRARY = frozenset({"redis"})


class TracedClient(Origin):
    """A client's options, and the parts of spans that never change."""

    __slots__ = ("_attributes",)

    def __init__(self, key: Any, options: Options) -> None:
        super().__init__(options, _LIBRARY)
        self._attributes = self._named(
            {"db.system.name": "redis", **_pool_attributes(key), **peer_attributes(options)}
        )

    def attributes(self, key: Any) -> dict[str, AttributeValue]:
        """Return the attributes of each span; for a cluster, those of the node asked first at present."""
        node = getattr(getattr(key, "nodes_manager", key), "default_node", None)
        return (
            self._attributes
            if node is None
            else {**self._attributes, **self._named(_address(node.host, node.port))}
        )

    def _named(self, attributes: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
        return with_former_names(attributes, REDIS) if self.options.former_names else attributes


def _pool_attributes(pool: Any) -> dict[str, AttributeValue]:
    options = getattr(pool, "connection_kwargs", None)
    if options is None or hasattr(pool, "default_node") or hasattr(pool, "nodes_manager"):
        return {"db.namespace": "0"}
    attributes: dict[str, AttributeValue] = {"db.namespace": str(options.get("db") or 0)}
    if "path" in options:
        return {**attributes, "network.transport": "unix"}
    if hasattr(pool, "sentinel_manager"):
        return attributes
    return {**attributes, **_address(options.get("host", "localhost"), options.get("port", 6379))}


def _address(host: object, port: object) -> dict[str, AttributeValue]:
    return {"server.address": str(host), "server.port": int(str(port))}


class TracedClients:
    """Clients by the object that they share with their pipelines: connection pool or nodes manager.

    Held weakly. Thread-safe.
    """

    def __init__(self) -> None:
        self._chosen: Chosen[Any, Options] = Chosen()
        self._found: WeakKeyDictionary[Any, TracedClient | None] = WeakKeyDictionary()

    def choose(self, key: Any | None, options: Options) -> None:
        """Trace the client of `key` with `options`; None: every client without options of its own."""
        self._chosen.set(key, options)
        self._found = WeakKeyDictionary()

    def forget(self, key: Any | None) -> None:
        """Take the choice for that client, or for every client, back."""
        self._chosen.take_back(key)
        self._found = WeakKeyDictionary()

    def get(self, key: Any) -> TracedClient | None:
        """Return the tracing of the client of `key`, or None if the client is not traced."""
        try:
            return self._found[key]
        except KeyError:
            options = self._chosen.of(key)
            traced = self._found[key] = TracedClient(key, options) if options is not None else None
            return traced


def key_of(client: Any) -> Any:
    """Return the object that `client` shares with its pipelines.

    Raises:
        ConfigurationError: `client` is no redis-py client.
    """
    pool = getattr(client, "connection_pool", None)
    if pool is not None:
        return pool
    owners = (getattr(client, name, None) for name in ("cluster_client", "_client"))
    owner = next((found for found in owners if found is not None), client)
    nodes = getattr(owner, "nodes_manager", None)
    if nodes is not None:
        # asyncio's cannot be held weakly, but there the pipeline knows its client
        return nodes if hasattr(nodes, "__weakref__") else owner
    raise ConfigurationError(
        f"client is a {type(client).__qualname__}: pass a client of redis-py, or nothing for all"
    )
