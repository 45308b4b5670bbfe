"""Name and text of a Redis command or pipeline, as exported: never an argument."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from obs_core.integration import truncate
from opentelemetry.util.types import AttributeValue

from obs_db._semconv import REDIS, with_former_names

MAX_TEXT_BYTES = 2048
PIPELINE = "PIPELINE"
_MAX_NAME_CHARS = 64
_NAME = re.compile(r"[A-Z][A-Z0-9_.\-]{0,31}")
#: Commands whose second word is part of their name; redis-py sends both as one argument.
_CONTAINERS = frozenset(
    {
        "ACL",
        "CLIENT",
        "CLUSTER",
        "COMMAND",
        "CONFIG",
        "DEBUG",
        "FUNCTION",
        "LATENCY",
        "MEMORY",
        "MODULE",
        "OBJECT",
        "PUBSUB",
    }
    | {"SCRIPT", "SENTINEL", "SLOWLOG", "XGROUP", "XINFO"}
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command's name, in upper case, the text with a ``?`` for each argument, and both as attributes."""

    name: str
    text: str
    attributes: Mapping[str, AttributeValue]


def describe_command(args: tuple[Any, ...], *, former_names: bool = False) -> Command:
    """Return the exported form of the command `args`; with `former_names`, under both sets of names.

    Thread-safe; the last 1,024 shapes are remembered.
    """
    first = args[0] if args else ""
    if type(first) is str and len(first) <= _MAX_NAME_CHARS and len(args) <= MAX_TEXT_BYTES:
        return _described(first, len(args), former_names)
    if isinstance(first, bytes):
        first = first.decode("utf-8", "replace")
    if not isinstance(first, str):
        first = ""
    return _described(first[:_MAX_NAME_CHARS], min(len(args), MAX_TEXT_BYTES), former_names)


@lru_cache(maxsize=1024)
def _described(first: str, length: int, former_names: bool) -> Command:
    # the first argument may hold more than the name: redis-py splits the argument at blanks
    words = first.upper().split()
    taken = 2 if words[:1] and words[0] in _CONTAINERS else 1
    name = " ".join(word if _NAME.fullmatch(word) else "?" for word in words[:taken]) or "?"
    masked = ["?"] * (len(words[taken:]) + length - 1)
    text = truncate(" ".join([name, *masked]), MAX_TEXT_BYTES)
    attributes: dict[str, AttributeValue] = {"db.operation.name": name, "db.query.text": text}
    return Command(name, text, with_former_names(attributes, REDIS) if former_names else attributes)


def queued_commands(pipeline: Any) -> list[Any]:
    """Return the list in which `pipeline` keeps commands; resetting the pipeline leaves the list as is.

    A cluster's pipeline has no public name for the list before redis-py 8, and in asyncio in no version.
    """
    holder = getattr(pipeline, "_execution_strategy", pipeline)
    for name in ("command_queue", "_command_queue", "command_stack", "_command_stack"):
        found = getattr(holder, name, None)
        if isinstance(found, list):
            return found
    return []


def pipeline_attributes(commands: list[Any]) -> dict[str, AttributeValue]:
    """Return operation, size and text of a pipeline of `commands`.

    The text is cut at 2 KiB, for any number of commands.
    """
    attributes: dict[str, AttributeValue] = {
        "db.operation.name": PIPELINE,
        "db.query.text": _pipeline_text(commands),
    }
    if len(commands) > 1:
        attributes["db.operation.batch.size"] = len(commands)
    return attributes


def _pipeline_text(commands: Iterable[Any]) -> str:
    lines, size = [], 0
    for command in commands:
        text = describe_command(command[0] if type(command) is tuple else command.args).text
        lines.append(text)
        size += len(text) + 1
        if size > MAX_TEXT_BYTES:
            break
    return truncate("\n".join(lines), MAX_TEXT_BYTES)
