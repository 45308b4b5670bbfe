"""The traced clients with their options, and the parts of spans that never change."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from obs_core.integration import option_error
from opentelemetry.util.types import AttributeValue

from obs_db._call import Origin
from obs_db._options import RedisHook, RedisOptions

#: The packages between the client and the application: see `SpanPolicy`.
LIBRARY = frozenset({"redis", "obs_db"})


class TracedClient(Origin):
    """A client's options, and the parts of spans that never change."""

    __slots__ = ("_attributes", "former_names", "on_end", "on_start")

    def __init__(self, key: Any, options: RedisOptions) -> None:
        super().__init__(options, LIBRARY)
        self.former_names = options.former_names
        self.on_start: RedisHook | None = options.on_start
        self.on_end: RedisHook | None = options.on_end
        system: dict[str, AttributeValue] = {
            "db.system.name": "redis",
            **_pool_attributes(key),
        }
        self._attributes = self.former_names.added_to(
            {**system, **options.peer_attributes()}
        )

    def attributes(self, key: Any) -> dict[str, AttributeValue]:
        """Return the attributes of each span; for a cluster, those of the node asked first at present."""
        node = getattr(getattr(key, "nodes_manager", key), "default_node", None)
        if node is None:
            return self._attributes
        address = self.former_names.added_to(_address(node.host, node.port))
        return {**self._attributes, **address}


class TracedClients:
    """The clients of a call of `instrument_redis`, by their key: see `key_of`. Held weakly. Thread-safe."""

    def __init__(self, options: RedisOptions) -> None:
        self._options = options
        self._traced: WeakKeyDictionary[Any, TracedClient] = WeakKeyDictionary()

    def get(self, key: Any) -> TracedClient:
        """Return the tracing of the client of `key`."""
        try:
            return self._traced[key]
        except KeyError:
            return self._traced.setdefault(key, TracedClient(key, self._options))


def key_of(client: Any) -> Any:
    """Return the object that `client` shares with its pipelines: the connection pool, or the nodes manager.

    Raises:
        ConfigurationError: `client` is no redis-py client.
    """
    pool = getattr(client, "connection_pool", None)
    if pool is not None:
        return pool
    owners = (getattr(client, name, None) for name in ("cluster_client", "_client"))
    owner = next((found for found in owners if found is not None), client)
    nodes = getattr(owner, "nodes_manager", None)
    if nodes is None:
        raise option_error(
            "client", client, "pass a client of redis-py, or nothing for all"
        )
    # asyncio's cannot be held weakly, but there the pipeline knows its client
    return nodes if hasattr(nodes, "__weakref__") else owner


def _pool_attributes(pool: Any) -> dict[str, AttributeValue]:
    options = getattr(pool, "connection_kwargs", None)
    if (
        options is None
        or hasattr(pool, "default_node")
        or hasattr(pool, "nodes_manager")
    ):
        return {"db.namespace": "0"}
    attributes: dict[str, AttributeValue] = {
        "db.namespace": str(options.get("db") or 0)
    }
    if "path" in options:
        return {**attributes, "network.transport": "unix"}
    if hasattr(pool, "sentinel_manager"):
        return attributes
    return {
        **attributes,
        **_address(options.get("host", "localhost"), options.get("port", 6379)),
    }


def _address(host: object, port: object) -> dict[str, AttributeValue]:
    return {"server.address": str(host), "server.port": int(str(port))}
