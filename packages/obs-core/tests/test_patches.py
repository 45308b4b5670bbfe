"""Methods replaced in a library, and restored."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import Any

import pytest
from obs_core.integration import Patches


class Base:
    def inherited(self) -> str:
        return "inherited"


class Client(Base):
    def send(self, text: str, *, loud: bool = False) -> str:
        return text.upper() if loud else text

    async def send_later(self, text: str) -> str:
        return text


HERE = f"{__name__}:Client"


def around(original: Any, *args: Any, **kwargs: Any) -> Any:
    return f"<{original(*args, **kwargs)}>"


async def around_later(original: Any, *args: Any, **kwargs: Any) -> Any:
    return f"<{await original(*args, **kwargs)}>"


def test_a_class_is_as_before() -> None:
    """Of a method that the class inherits, too: nothing is left on the class."""
    before = dict(vars(Client))
    patches = Patches()
    patches.wrap(Client, "send", around)
    patches.wrap(Client, "inherited", around)
    assert (Client().send("a", loud=True), Client().inherited()) == (
        "<A>",
        "<inherited>",
    )
    assert Client.send.__name__ == "send"
    patches.undo()
    assert dict(vars(Client)) == before


def test_a_single_object() -> None:
    """Others of the class are not touched."""
    client, patches = Client(), Patches()
    patches.wrap(client, "send", around)
    assert (client.send("a"), Client().send("a")) == ("<a>", "a")
    patches.undo()
    assert vars(client) == {}


def test_a_coroutine_function_stays_one() -> None:
    """Libraries ask for it."""
    patches = Patches()
    patches.wrap(Client, "send_later", around_later)
    assert inspect.iscoroutinefunction(Client.send_later)
    assert asyncio.run(Client().send_later("a")) == "<a>"
    patches.undo()
    assert asyncio.run(Client().send_later("a")) == "a"


def test_a_wrapper_of_others_around_ours_stays() -> None:
    """Ours below passes calls on without effect; the next patches are not doubled."""
    patches, original = Patches(), Client.send
    patches.wrap(Client, "send", around)
    ours = Client.send
    try:
        Client.send = lambda self, text: f"[{ours(self, text)}]"  # type: ignore[method-assign,assignment,misc]
        patches.undo()
        assert Client().send("a") == "[a]"
        again = Patches()
        again.wrap(Client, "send", around)
        assert Client().send("a") == "<[a]>"
        again.undo()
        assert Client().send("a") == "[a]"
    finally:
        Client.send = original  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("no_such_module:Client", "send"),
        (HERE.replace("Client", "Server"), "send"),
        (HERE, "receive"),
        (HERE, "inherited"),
    ],
)
def test_what_this_version_lacks_is_left_out(path: str, name: str) -> None:
    """A module, a class, or a method that the class itself defines."""
    before = dict(vars(Client))
    Patches().wrap_if_present(path, name, around)
    assert dict(vars(Client)) == before


def test_what_others_leave_behind_is_replaced() -> None:
    """Others take their wrapper back after us: ours, without effect, is on the class, and goes with the next undo."""
    before, patches = Client.send, Patches()
    patches.wrap(Client, "send", around)
    ours = Client.send

    @functools.wraps(ours)
    def theirs(self: Client, text: str) -> str:
        return f"[{ours(self, text)}]"

    Client.send = theirs  # type: ignore[method-assign,assignment]
    patches.undo()
    Client.send = ours  # type: ignore[method-assign]
    again = Patches()
    again.wrap(Client, "send", around)
    assert Client().send("a") == "<a>"
    again.undo()
    assert Client.send is before


def test_what_is_present_is_wrapped() -> None:
    """By the path of the class."""
    patches = Patches()
    patches.wrap_if_present(HERE, "send", around)
    assert Client().send("a") == "<a>"
    patches.undo()
    assert Client().send("a") == "a"
