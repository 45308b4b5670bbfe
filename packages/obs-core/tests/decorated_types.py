"""A sample for type checkers, run by test_decorator.py: decorated callables keep their types."""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

from obs_core import trace_function, trace_llm
from typing_extensions import assert_type


@trace_function
def plain(x: int, *, y: str = "") -> float:
    """Return a float."""
    return x


@trace_function(name="named", capture_args=("x",), expected=KeyError)
async def coroutine(x: int) -> str:
    """Return text."""
    return str(x)


@trace_function
def generator() -> Iterator[int]:
    """Yield a number."""
    yield 1


@trace_function()
async def async_generator() -> AsyncIterator[bytes]:
    """Yield bytes."""
    yield b""


@trace_llm(provider="openai", model="m")
async def ask(prompt: str) -> bytes:
    """Return bytes."""
    return prompt.encode()


class Shop:
    """Methods of every kind."""

    @trace_function
    def method(self, x: int) -> int:
        """Return `x`."""
        return x

    @classmethod
    @trace_function
    def class_inner(cls, x: int) -> int:
        """Return `x`."""
        return x

    @trace_function
    @classmethod
    def class_outer(cls, x: int) -> int:
        """Return `x`."""
        return x

    @trace_function
    @staticmethod
    def static_outer(x: int) -> int:
        """Return `x`."""
        return x

    @staticmethod
    @trace_function(expected=(KeyError, ValueError))
    async def static_inner(x: int) -> int:
        """Return `x`."""
        return x


async def check() -> None:
    """Assert the types, statically."""
    assert_type(plain(1, y="a"), float)
    assert_type(await coroutine(1), str)
    assert_type(await ask("x"), bytes)
    assert_type(trace_llm(plain, provider="x")(1), float)
    assert_type(generator(), Iterator[int])
    assert_type(async_generator(), AsyncIterator[bytes])
    assert_type(Shop().method(1), int)
    assert_type(Shop.class_inner(1), int)
    assert_type(Shop.class_outer(1), int)
    assert_type(Shop.static_outer(1), int)
    assert_type(await Shop.static_inner(1), int)
    bound: Callable[[], int] = trace_function(partial(Shop().method, 1))
    assert_type(bound(), int)
