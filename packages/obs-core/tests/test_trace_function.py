"""`trace_function`: every kind of callable, its name, its options."""

from __future__ import annotations

import asyncio
import functools
import inspect
import subprocess
import sys
import types
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obs_core import trace_function
from obs_core.exceptions import ConfigurationError
from obs_core.testing import SpanRecorder, record_spans
from opentelemetry.trace import SpanKind

HERE = __name__


@trace_function
def plain(x: int, y: int = 2) -> tuple[int, int]:
    """Pair."""
    return x, y


@trace_function()
async def coroutine(x: int) -> int:
    await asyncio.sleep(0)
    return x


@trace_function
def generator(count: int) -> Iterator[int]:
    yield from range(count)


@trace_function
async def async_generator(count: int) -> AsyncIterator[int]:
    for item in range(count):
        yield item


class Shop:
    @trace_function
    def method(self, x: int) -> int:
        return x

    @classmethod
    @trace_function
    def class_inner(cls, x: int) -> tuple[type, int]:
        return cls, x

    @trace_function
    @classmethod
    def class_outer(cls, x: int) -> tuple[type, int]:
        return cls, x

    @staticmethod
    @trace_function
    def static_inner(x: int) -> int:
        return x

    @trace_function
    @staticmethod
    def static_outer(x: int) -> int:
        return x

    @trace_function
    @classmethod
    async def class_async(cls, x: int) -> tuple[type, int]:
        return cls, x

    @trace_function
    @staticmethod
    async def static_async(x: int) -> AsyncIterator[int]:
        yield x


class Corner(Shop):
    pass


class Sync:
    def __call__(self, x: int) -> int:
        return x


class Async:
    async def __call__(self, x: int) -> int:
        await asyncio.sleep(0)
        return x


class Yields:
    def __call__(self, x: int) -> Iterator[int]:
        yield x


async def _collect(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


def _partial_sync() -> object:
    return trace_function(functools.partial(inner_function, 1))(2)


def _partial_async() -> object:
    return asyncio.run(trace_function(functools.partial(inner_coroutine, 1))(2))


def inner_function(x: int, y: int) -> tuple[int, int]:
    return x, y


async def inner_coroutine(x: int, y: int) -> tuple[int, int]:
    return x, y


SHAPES: list[tuple[str, Callable[[], object], object]] = [
    ("plain", lambda: plain(1), (1, 2)),
    ("coroutine", lambda: asyncio.run(coroutine(1)), 1),
    ("generator", lambda: list(generator(2)), [0, 1]),
    ("async_generator", lambda: asyncio.run(_collect(async_generator(2))), [0, 1]),
    ("Shop.method", lambda: Corner().method(1), 1),
    ("Shop.class_inner", lambda: Corner.class_inner(1), (Corner, 1)),
    ("Shop.class_outer", lambda: Corner().class_outer(1), (Corner, 1)),
    ("Shop.static_inner", lambda: Shop.static_inner(1), 1),
    ("Shop.static_outer", lambda: Shop().static_outer(1), 1),
    ("Shop.class_async", lambda: asyncio.run(Corner.class_async(1)), (Corner, 1)),
    ("Shop.static_async", lambda: asyncio.run(_collect(Shop.static_async(1))), [1]),
    ("inner_function", _partial_sync, (1, 2)),
    ("inner_coroutine", _partial_async, (1, 2)),
    ("Sync.__call__", lambda: trace_function(Sync())(1), 1),
    ("Async.__call__", lambda: asyncio.run(trace_function(Async())(1)), 1),
    ("Yields.__call__", lambda: list(trace_function(Yields())(1)), [1]),
    (
        "Shop.method",
        lambda: trace_function(Shop().method.__wrapped__.__get__(Shop()))(1),
        1,
    ),  # type: ignore[attr-defined]
]


@pytest.mark.promise("CORE-40", "CORE-43", "CORE-45")
@pytest.mark.parametrize(("name", "call", "result"), SHAPES)
def test_every_shape_runs_in_one_span(
    spans: SpanRecorder, name: str, call: Callable[[], object], result: object
) -> None:
    """The call answers as undecorated, in one span named module.qualname, though decorated before tracing was set up."""
    assert call() == result
    (span,) = spans.finished
    assert (span.name, span.kind, span.status.is_unset, span.parent) == (
        f"{HERE}.{name}",
        SpanKind.INTERNAL,
        True,
        None,
    )
    assert span.attributes is not None
    assert span.attributes["code.function.name"] == span.name
    assert span.attributes["code.file.path"] == __file__
    line = span.attributes["code.line.number"]
    assert isinstance(line, int)
    assert name.split(".")[-1] in "".join(
        Path(__file__).read_text().splitlines()[line - 1 : line + 2]
    )


@pytest.mark.promise("CORE-40")
def test_inspect_answers_the_same() -> None:
    """What frameworks ask of a callable is the same with the decorator."""
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(generator)
    assert inspect.isasyncgenfunction(async_generator)
    assert not inspect.iscoroutinefunction(plain)
    assert inspect.isfunction(plain)
    assert inspect.iscoroutinefunction(Shop.class_async)
    assert inspect.isasyncgenfunction(Shop.static_async)
    assert inspect.isgenerator(generator(1))
    assert inspect.iscoroutinefunction(trace_function(Async()))
    assert inspect.iscoroutinefunction(
        trace_function(functools.partial(inner_coroutine, 1))
    )
    assert (
        str(inspect.signature(plain)) == "(x: 'int', y: 'int' = 2) -> 'tuple[int, int]'"
    )
    assert (
        str(inspect.signature(trace_function(functools.partial(inner_function, 1))))
        == "(y: 'int') -> 'tuple[int, int]'"
    )
    assert (plain.__name__, plain.__qualname__, plain.__module__, plain.__doc__) == (
        "plain",
        "plain",
        HERE,
        "Pair.",
    )


@pytest.mark.promise("CORE-40")
def test_abstract_methods_stay_abstract() -> None:
    """A decorated abstract method still has to be implemented."""

    class Base(ABC):
        @trace_function
        @abstractmethod
        def run(self) -> None: ...

    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]


@pytest.mark.promise("CORE-40")
def test_generator_based_coroutines_stay_awaitable(spans: SpanRecorder) -> None:
    """What `types.coroutine` made can still be awaited."""

    @trace_function
    @types.coroutine
    def old_style() -> Generator[None, None, int]:
        yield
        return 3

    async def main() -> int:
        return await old_style()

    assert asyncio.run(main()) == 3
    assert len(spans) == 1


@pytest.mark.promise("CORE-40")
@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Sync, "a class cannot be traced: decorate the methods of Sync, not the class"),
        (3, "3 cannot be traced, for it cannot be called: decorate a function"),
        ("name", "'name' cannot be traced, for it cannot be called"),
        (property(lambda self: 1), "decorate the getter, below @property"),
    ],
)
def test_what_cannot_be_traced_is_rejected_at_decoration(
    target: Any, message: str
) -> None:
    """A class, a value, a property: a TypeError that says what to do."""
    with pytest.raises(TypeError) as caught:
        trace_function(target)
    assert message in str(caught.value)


@pytest.mark.promise("CORE-40")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "name='' is no name"),
        ({"name": 3}, "name=3 is no name"),
        ({"kind": "client"}, "kind='client' is no span kind"),
        ({"attributes": ["a"]}, "attributes=['a'] is no mapping"),
        ({"attributes": {"": 1}}, "attributes has the key ''"),
        ({"attributes": {"a": object}}, "attributes['a'] is <class 'object'>"),
        ({"expected": ValueError("x")}, "expected has ValueError('x')"),
        ({"expected": (int,)}, "expected has <class 'int'>"),
        ({"capture_args": "x"}, "write capture_args=('x',)"),
        ({"capture_args": (1,)}, "capture_args has 1"),
        ({"capture_args": ("z",)}, "capture_args names 'z', which is no parameter"),
    ],
)
def test_malformed_options_are_rejected_at_decoration(
    options: dict[str, Any], message: str
) -> None:
    """Bad configuration raises where it is written, with the value and the fix."""
    with pytest.raises(ConfigurationError) as caught:
        trace_function(**options)(inner_function)
    assert message in str(caught.value)


@pytest.mark.promise("CORE-40")
def test_options_shape_the_span(spans: SpanRecorder) -> None:
    """Name, kind and attributes are as given; None is left out, and the code's own attributes stay."""

    @trace_function(
        name="charge",
        kind=SpanKind.CLIENT,
        attributes={"llm.provider": "openai", "nothing": None, "tags": ["a"]},
    )
    def run() -> None: ...

    run()
    span = spans.one("charge")
    assert span.kind is SpanKind.CLIENT
    assert {
        key: value
        for key, value in (span.attributes or {}).items()
        if not key.startswith("code.")
    } == {
        "llm.provider": "openai",
        "tags": ("a",),
    }


VALUES = st.one_of(
    st.none(), st.integers(), st.text(), st.lists(st.integers()), st.floats()
)


def echo(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


async def echo_async(
    *args: Any, **kwargs: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def echo_yield(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
    sent = yield args
    yield sent
    return kwargs


async def echo_async_yield(*args: Any, **kwargs: Any) -> Any:
    sent = yield args
    yield sent
    yield kwargs


@pytest.mark.promise("CORE-40")
@pytest.mark.parametrize("sampling_rate", [1.0, 0.0])
@given(
    args=st.lists(VALUES),
    kwargs=st.dictionaries(st.text(), VALUES),
    message=st.text(),
    sent=VALUES,
)
def test_arguments_results_and_exceptions_pass_through(
    sampling_rate: float,
    args: list[Any],
    kwargs: dict[str, Any],
    message: str,
    sent: Any,
) -> None:
    """Whatever goes in, comes back or is raised is the same object, for every kind, sampled or not."""
    error = ValueError(message)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    async def fail_async(*_: Any, **__: Any) -> None:
        raise error

    async def drive() -> None:
        answer, named = await trace_function(echo_async)(*args, **kwargs)
        assert all(a is b for a, b in zip(answer, args, strict=True))
        assert named == kwargs or any(value != value for value in kwargs.values())
        items = trace_function(echo_async_yield)(*args, **kwargs)
        assert all(a is b for a, b in zip(await items.__anext__(), args, strict=True))
        assert await items.asend(sent) is sent
        assert list(await items.__anext__()) == list(kwargs)
        with pytest.raises(ValueError) as caught:
            await trace_function(fail_async)(*args, **kwargs)
        assert caught.value is error

    with record_spans(sampling_rate=sampling_rate):
        answer, named = trace_function(echo)(*args, **kwargs)
        assert all(a is b for a, b in zip(answer, args, strict=True))
        assert all(named[key] is kwargs[key] for key in kwargs)
        items = trace_function(echo_yield)(*args, **kwargs)
        assert all(a is b for a, b in zip(next(items), args, strict=True))
        assert items.send(sent) is sent
        with pytest.raises(StopIteration) as stop:
            next(items)
        assert list(stop.value.value) == list(kwargs)
        with pytest.raises(ValueError) as caught:
            trace_function(fail)(*args, **kwargs)
        assert caught.value is error
        asyncio.run(drive())


@pytest.mark.soak
@pytest.mark.promise("CORE-40")
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_static_types_are_preserved(checker: str, tmp_path: Path) -> None:
    """Mypy (strict) and pyright agree with every `assert_type` of the sample, and find its one planted mistake."""
    pytest.importorskip(checker)
    sample = Path(__file__).with_name("decorated_types.py")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(sample.read_text() + "\nplain('text')\n")
    command = {
        "mypy": ["mypy", "--strict", "--cache-dir", str(tmp_path)],
        "pyright": ["pyright", "--pythonpath", sys.executable],
    }
    run = [sys.executable, "-m", *command[checker]]
    right = subprocess.run(
        [*run, str(sample)], capture_output=True, text=True, cwd=tmp_path, timeout=110
    )
    assert right.returncode == 0, right.stdout + right.stderr
    planted = subprocess.run(
        [*run, str(wrong)], capture_output=True, text=True, cwd=tmp_path, timeout=110
    )
    assert planted.returncode == 1
    assert planted.stdout.count("error:") == 1, planted.stdout


def test_awaitable_types_are_kept() -> None:
    """The decorator returns what it was given, to a type checker."""
    kept: Callable[[int], Awaitable[int]] = coroutine
    assert kept is coroutine
