"""Name and text of a Redis command or pipeline, as exported: never an argument."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from obs_core.integration import NO_FORMER_NAMES, FormerNames, truncate
from opentelemetry.util.types import AttributeValue

MAX_TEXT_BYTES = 2048
PIPELINE = "PIPELINE"
MASK = "?"
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


def describe_command(
    args: tuple[Any, ...], former_names: FormerNames = NO_FORMER_NAMES
) -> Command:
    """Return the exported form of the command `args`, with `former_names` in addition.

    Thread-safe; the last 1,024 shapes are remembered.
    """
    length = min(len(args), MAX_TEXT_BYTES)
    if args and type(args[0]) is str:
        return _described(args[0][:_MAX_NAME_CHARS], length, former_names)
    return _described(_first_word(args), length, former_names)


def _first_word(args: tuple[Any, ...]) -> str:
    first = next(iter(args), "")
    if isinstance(first, bytes):
        first = first.decode("utf-8", "replace")
    if not isinstance(first, str):
        return ""
    return first[:_MAX_NAME_CHARS]


@lru_cache(maxsize=1024)
def _described(first: str, length: int, former_names: FormerNames) -> Command:
    # the first argument may hold more than the name: redis-py splits the argument at blanks
    words = first.upper().split() or [MASK]
    taken = 2 if words[0] in _CONTAINERS else 1
    name = " ".join(map(_masked_unless_name, words[:taken]))
    masked = [MASK] * (len(words[taken:]) + length - 1)
    text = truncate(" ".join([name, *masked]), MAX_TEXT_BYTES)
    attributes: dict[str, AttributeValue] = {
        "db.operation.name": name,
        "db.query.text": text,
    }
    return Command(name, text, former_names.added_to(attributes))


def _masked_unless_name(word: str) -> str:
    return word if _NAME.fullmatch(word) else MASK


def mask_command(text: str) -> str:
    """Return the command `text`, which may have arguments, with a ``?`` for each."""
    words = text.upper().split() or [MASK]
    taken = 1 + (words[0] in _CONTAINERS)
    names = map(_masked_unless_name, words[:taken])
    masks = [MASK] * len(words[taken:])
    return " ".join([*names, *masks])


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
    known: dict[tuple[str, int], str] = {}
    for command in commands:
        # a cluster's pipeline keeps objects, any other tuples of arguments and options
        args = command[0] if type(command) is tuple else command.args
        shape = (args[0], len(args)) if args and type(args[0]) is str else None
        if shape in known:
            text = known[shape]
        else:
            text = describe_command(args).text
            if shape is not None:
                known[shape] = text
        lines.append(text)
        size += len(text) + 1
        if size > MAX_TEXT_BYTES:
            break
    return truncate("\n".join(lines), MAX_TEXT_BYTES)
