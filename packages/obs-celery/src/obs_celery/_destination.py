"""The destination and routing key of a message, as the user gave them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# Celery's machinery for an ETA on quorum queues: the exchange, perhaps with a prefix, and the delay in binary digits
_DELAY_EXCHANGE = re.compile(r"(?:.*_)?celery_delayed_(?:delivery|\d+)")
_DELAY_DIGITS = re.compile(r"\A(?:(?:[01]\.){28})+")
#: A word of a topic, behind the dot; ``#`` stands for any number of words, also for none.
_WORDS = {"*": r"\.[^.]+", "#": r"(?:\.[^.]*)*"}


@dataclass(frozen=True)
class Destinations:
    """The destinations of an app's messages.

    Attributes:
        topics: Routing key and exchange of each queue on RabbitMQ; a key may hold ``*`` and ``#``.
    """

    topics: tuple[tuple[str, str], ...] = ()

    def place(
        self, exchange: object, routing_key: object
    ) -> tuple[str | None, str | None]:
        """Return a message's destination (the exchange, or else the queue) and routing key.

        In RabbitMQ's native delayed delivery these are the final ones.
        """
        name, key = (
            str(getattr(exchange, "name", exchange) or ""),
            str(routing_key or ""),
        )
        if name and _DELAY_EXCHANGE.fullmatch(name):
            key = _DELAY_DIGITS.sub("", key)
            name = self._exchange_of(key)
        return name or key or None, key or None

    def _exchange_of(self, routing_key: str) -> str:
        exact = dict(self.topics).get(routing_key)
        matching = (name for topic, name in self.topics if _matches(topic, routing_key))
        return exact or next(matching, "")


def destinations_of(system: str, app: Any) -> Destinations:
    """Return the destinations of `app`, whose broker is a `system`."""
    if system != "rabbitmq":
        return Destinations()
    queues = [queue for queue in app.amqp.queues.values() if queue.exchange]
    return Destinations(tuple(map(_topic, queues)))


def _topic(queue: Any) -> tuple[str, str]:
    return str(queue.routing_key or ""), str(queue.exchange.name)


def _matches(topic: str, routing_key: str) -> bool:
    """Whether a topic matches, word by word, as RabbitMQ's topic exchanges match."""
    pattern = "".join(map(_pattern, topic.split(".")))
    found = re.fullmatch(pattern, "." + routing_key)
    return found is not None


def _pattern(word: str) -> str:
    if word in _WORDS:
        return _WORDS[word]
    return r"\." + re.escape(word)
