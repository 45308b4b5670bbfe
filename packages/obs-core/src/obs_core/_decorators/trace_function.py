"""`trace_function`: recognise the kind of callable, and name the span."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar, overload

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from obs_core._decorators.arguments import ArgumentCapture, Serialize
from obs_core._decorators.calls import AnyCallable, Plan, trace_call, trace_coroutine
from obs_core._decorators.generators import trace_async_generator, trace_generator
from obs_core.exceptions import ConfigurationError

F = TypeVar("F", bound="Callable[..., Any] | classmethod[Any, ..., Any] | staticmethod[..., Any]")
Expected = type[BaseException] | tuple[type[BaseException], ...]


@overload
def trace_function(
    function: F,
    /,
    *,
    name: str | None = None,
    attributes: Mapping[str, AttributeValue | None] | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    capture_args: Iterable[str] = (),
    serialize: Serialize | None = None,
    expected: Expected = (),
) -> F: ...
@overload
def trace_function(
    *,
    name: str | None = None,
    attributes: Mapping[str, AttributeValue | None] | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    capture_args: Iterable[str] = (),
    serialize: Serialize | None = None,
    expected: Expected = (),
) -> Callable[[F], F]: ...
def trace_function(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    attributes: Mapping[str, AttributeValue | None] | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    capture_args: Iterable[str] = (),
    serialize: Serialize | None = None,
    expected: Expected = (),
) -> Any:
    """Run each call of the decorated callable in a span.

    Accepts functions, coroutine functions, generators and async generators, methods, ``classmethod`` and ``staticmethod``
    on either side, `functools.partial`, and objects with a sync or async ``__call__``. Used bare (``@trace_function``) or
    called.

    Args:
        function: The callable, when used bare.
        name: The span's name; default ``module.qualname``.
        attributes: Set on every span; attributes that are None are left out.
        kind: The span's kind; default INTERNAL.
        capture_args: Names of arguments to record as ``obs.args.<name>``; default: no arguments. See `ArgumentCapture`.
        serialize: Converts a captured argument to an attribute value; default: attribute values unchanged, else ``repr``.
        expected: Exceptions that are an answer, not an error: the span is not marked.

    Raises:
        TypeError: `function` is a class, or cannot be called.
        ConfigurationError: An option is malformed, or `capture_args` has a name that is no parameter.

    A generator's span lasts from the first step to the end, and the steps run in an OpenTelemetry context of their own.
    Below an unsampled parent, and without a provider, the call is passed through without a span. Tracing may be set up
    before or after decorating. Thread- and fork-safe.
    """

    def decorate(target: Any) -> Any:
        return apply(target, make_plan)

    def make_plan(
        target: AnyCallable, default_name: str, code: Mapping[str, AttributeValue]
    ) -> Plan:
        return Plan(
            name=default_name if name is None else name,
            kind=kind,
            attributes={**code, **given},
            expected=exceptions,
            on_start=ArgumentCapture(target, capture_args, serialize) if capture_args else None,
        )

    check_name("name", name, optional=True)
    check_kind(kind)
    given, exceptions = check_attributes(attributes), checked_expected(expected)
    return decorate if function is None else decorate(function)


MakePlan = Callable[[AnyCallable, str, Mapping[str, AttributeValue]], Plan]
Wrap = Callable[[AnyCallable, Plan], AnyCallable]
Kind = Literal["call", "coroutine", "generator", "async generator"]
WRAPPERS: dict[Kind, Wrap] = {
    "call": trace_call,
    "coroutine": trace_coroutine,
    "generator": trace_generator,
    "async generator": trace_async_generator,
}


def apply(target: Any, make_plan: MakePlan, wrappers: Mapping[Kind, Wrap] = WRAPPERS) -> Any:
    """Wrap `target` of any kind; `make_plan` gets the callable, the name and the ``code.*`` attributes."""
    if isinstance(target, (classmethod, staticmethod)):
        return type(target)(apply(target.__func__, make_plan, wrappers))
    _check_target(target)
    named = _named(target)
    name = f"{named.__module__}.{named.__qualname__}"
    wrap = wrappers[_kind(target)]
    wrapper = functools.update_wrapper(
        wrap(target, make_plan(target, name, _code(named, name))), target
    )
    if named is not target:
        wrapper.__module__, wrapper.__name__, wrapper.__qualname__ = (
            named.__module__,
            named.__name__,
            named.__qualname__,
        )
        wrapper.__doc__ = named.__doc__
    return types.coroutine(wrapper) if _is_generator_coroutine(target) else wrapper


def _check_target(target: object) -> None:
    if isinstance(target, type):
        raise TypeError(
            f"a class cannot be traced: decorate the methods of {target.__qualname__}, not the class"
        )
    if not callable(target):
        fix = (
            "decorate the getter, below @property"
            if isinstance(target, property)
            else "decorate a function"
        )
        raise TypeError(f"{target!r} cannot be traced, for it cannot be called: {fix}")


def _kind(target: AnyCallable) -> Kind:
    inner = _without_partial(target)
    call = inner if inspect.isroutine(inner) else getattr(type(inner), "__call__", inner)  # noqa: B004 - the method, not a test
    if inspect.isasyncgenfunction(call):
        return "async generator"
    if inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(call):
        return "coroutine"
    return "generator" if inspect.isgeneratorfunction(call) else "call"


def _is_generator_coroutine(target: AnyCallable) -> bool:
    code = getattr(_without_partial(target), "__code__", None)
    return code is not None and bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)


def _without_partial(target: Any) -> Any:
    while isinstance(target, functools.partial):
        target = target.func
    return target


def _named(target: AnyCallable) -> Any:
    """Return the object that names `target`: a function, a partial's function, or the ``__call__`` of a class."""
    inner = _without_partial(target)
    return inner if hasattr(inner, "__qualname__") else type(inner).__call__


def _code(named: Any, name: str) -> dict[str, AttributeValue]:
    code = getattr(inspect.unwrap(named), "__code__", None)
    if code is None:
        return {"code.function.name": name}
    return {
        "code.function.name": name,
        "code.file.path": code.co_filename,
        "code.line.number": code.co_firstlineno,
    }


def check_name(option: str, name: object, *, optional: bool = False) -> None:
    """Raise unless `name` is text, or None where `optional`."""
    if not (isinstance(name, str) and name) and not (optional and name is None):
        raise ConfigurationError(
            f"{option}={name!r} is no name: give a non-empty string{', or leave it out' * optional}"
        )


def check_kind(kind: object) -> None:
    """Raise unless `kind` is a span kind."""
    if not isinstance(kind, SpanKind):
        raise ConfigurationError(
            f"kind={kind!r} is no span kind: give a member of opentelemetry.trace.SpanKind"
        )


def check_attributes(attributes: object) -> dict[str, AttributeValue]:
    """Return `attributes` without None values.

    Raises:
        ConfigurationError: A key is empty or no string, or a value is of no type that OpenTelemetry accepts.
    """
    if attributes is None:
        return {}
    if not isinstance(attributes, Mapping):
        raise ConfigurationError(
            f"attributes={attributes!r} is no mapping: give a dict of names and values"
        )
    kept = {key: value for key, value in attributes.items() if value is not None}
    for key, value in kept.items():
        if not isinstance(key, str) or not key:
            raise ConfigurationError(f"attributes has the key {key!r}: keys are non-empty strings")
        if not _is_attribute(value):
            fix = "give str, bool, int, float, bytes or a sequence of one of these"
            raise ConfigurationError(f"attributes[{key!r}] is {value!r}: {fix}")
    return kept


def _is_attribute(value: object) -> bool:
    scalars = (str, bool, int, float, bytes)
    return isinstance(value, scalars) or (
        isinstance(value, (list, tuple)) and all(isinstance(item, scalars) for item in value)
    )


def checked_expected(expected: object) -> tuple[type[BaseException], ...]:
    """Return `expected` as a tuple; raise unless all are exception classes."""
    classes = expected if isinstance(expected, tuple) else (expected,)
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise ConfigurationError(f"expected has {cls!r}: give exception classes")
    return classes
