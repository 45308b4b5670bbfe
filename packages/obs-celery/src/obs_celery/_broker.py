"""The broker of an app and the names of destinations; looked up once an app, without a connection."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from opentelemetry.util.types import AttributeValue

#: ``messaging.system`` by kombu's driver type; whatever is not here goes by kombu's own name.
_SYSTEMS = {
    "amqp": "rabbitmq",
    "sqs": "aws_sqs",
    "gcpubsub": "gcp_pubsub",
    "azureservicebus": "servicebus",
    "confluentkafka": "kafka",
}
#: Brokers that are no server.
_LOCAL = frozenset({"memory", "filesystem"})
# Celery's machinery for an ETA on quorum queues: the exchange, perhaps with a prefix, and the delay in binary digits
_DELAY_EXCHANGE = re.compile(r"(?:.*_)?celery_delayed_(?:delivery|\d+)")
_DELAY_DIGITS = re.compile(r"\A(?:(?:[01]\.){28})+")


@dataclass(frozen=True)
class Broker:
    """The broker's part of a span's attributes.

    Attributes:
        topics: Routing key and exchange of each queue on RabbitMQ; a key may hold ``*`` and ``#``.
    """

    system: str = "celery"
    address: str | None = None
    port: int | None = None
    topics: tuple[tuple[str, str], ...] = ()

    def place(self, exchange: object, routing_key: object) -> tuple[str | None, str | None]:
        """Return a message's destination (the exchange, or else the queue) and routing key.

        In RabbitMQ's native delayed delivery these are the final ones.
        """
        name, key = str(getattr(exchange, "name", exchange) or ""), str(routing_key or "")
        if name and _DELAY_EXCHANGE.fullmatch(name):
            key = _DELAY_DIGITS.sub("", key)
            name = self._exchange_of(key)
        return name or key or None, key or None

    def _exchange_of(self, routing_key: str) -> str:
        exact = dict(self.topics).get(routing_key)
        matching = (name for topic, name in self.topics if _matches(topic, routing_key))
        return exact or next(matching, "")

    def attributes(self) -> dict[str, AttributeValue]:
        """``messaging.system``, ``server.address`` and ``server.port``; never user or password."""
        found: dict[str, AttributeValue] = {"messaging.system": self.system}
        if self.address:
            found["server.address"] = self.address
            if self.port:
                found["server.port"] = self.port
        return found


def describe_broker(app: Any) -> Broker:
    """Read `app`'s broker from the configuration. Opens no connection."""
    connection = app.connection_for_write()
    try:
        driver = str(connection.transport.driver_type)
        info = connection.info()
    finally:
        connection.release()
    system = _SYSTEMS.get(driver.lower(), driver.lower())
    if system in _LOCAL:
        return Broker(system)
    address, port = info.get("hostname"), info.get("port")
    host = str(address) if address else None
    number = port if isinstance(port, int) else None
    return Broker(system, host, number, _topics(system, app))


def _topics(system: str, app: Any) -> tuple[tuple[str, str], ...]:
    if system != "rabbitmq":
        return ()
    queues = [queue for queue in app.amqp.queues.values() if queue.exchange]
    return tuple(_topic(queue) for queue in queues)


def _topic(queue: Any) -> tuple[str, str]:
    return str(queue.routing_key or ""), str(queue.exchange.name)


def _matches(topic: str, routing_key: str) -> bool:
    pattern = re.escape(topic).replace(r"\*", "[^.]+").replace(r"\#", ".*")
    return re.fullmatch(pattern, routing_key) is not None
