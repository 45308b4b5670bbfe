"""Which broker an app talks to, and what its places are called; asked for once an app, never connecting."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Broker:
    """The broker's part of a span's attributes."""

    system: str = "celery"
    address: str | None = None
    port: int | None = None

    def attributes(self) -> dict[str, AttributeValue]:
        """``messaging.system``, ``server.address`` and ``server.port``; never user or password."""
        found: dict[str, AttributeValue] = {"messaging.system": self.system}
        if self.address:
            found["server.address"] = self.address
            if self.port:
                found["server.port"] = self.port
        return found


def describe_broker(app: Any) -> Broker:
    """Tell from `app`'s configuration which broker its tasks are published to. Opens no connection."""
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
    return Broker(
        system, str(address) if address else None, port if isinstance(port, int) else None
    )


def destination(exchange: object, routing_key: object) -> str | None:
    """The queue for a message sent straight to one (no exchange), else the exchange."""
    name = getattr(exchange, "name", exchange) or routing_key
    return str(name) if name else None
