"""The broker of an app; looked up once an app, without a connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opentelemetry.util.types import AttributeValue

from obs_celery._destination import Destinations, destinations_of

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
    """The broker's part of a span's attributes.

    Attributes:
        destinations: Resolves the destinations of messages.
    """

    system: str = "celery"
    address: str | None = None
    port: int | None = None
    destinations: Destinations = field(default_factory=Destinations)

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
    return Broker(system, host, number, destinations_of(system, app))
