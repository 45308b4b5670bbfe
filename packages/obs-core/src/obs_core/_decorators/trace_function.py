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
from obs_core._decorators.calls import trace_call, trace_coroutine
from obs_core._decorators.code_location import (
    code_attributes,
    named_by,
    without_partial,
)
from obs_core._decorators.generators import trace_async_generator, trace_generator
from obs_core._decorators.spec import AnyCallable, SpanSpec
from obs_core._decorators.validation import (
    check_attributes,
    check_kind,
    check_name,
    checked_expected,
)

F = TypeVar(
    "F",
    bound="Callable[..., Any] | classmethod[Any, ..., Any] | staticmethod[..., Any]",
)
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
        return apply(target, make_spec)

    def make_spec(
        target: AnyCallable, default_name: str, code: Mapping[str, AttributeValue]
    ) -> SpanSpec:
        capture = None
        if capture_args:
            capture = ArgumentCapture(target, capture_args, serialize)
        return SpanSpec(
            name=name or default_name,
            kind=kind,
            attributes={**code, **given},
            expected=exceptions,
            on_start=capture,
        )

    check_name("name", name, optional=True)
    check_kind(kind)
    given, exceptions = check_attributes(attributes), checked_expected(expected)
    if function is None:
        return decorate
    return decorate(function)


MakeSpec = Callable[[AnyCallable, str, Mapping[str, AttributeValue]], SpanSpec]
Wrap = Callable[[AnyCallable, SpanSpec], AnyCallable]
Kind = Literal["call", "coroutine", "generator", "async generator"]
_NAMES = ("__module__", "__name__", "__qualname__", "__doc__")
WRAPPERS: dict[Kind, Wrap] = {
    "call": trace_call,
    "coroutine": trace_coroutine,
    "generator": trace_generator,
    "async generator": trace_async_generator,
}


def apply(
    target: Any, make_spec: MakeSpec, wrappers: Mapping[Kind, Wrap] = WRAPPERS
) -> Any:
    """Wrap `target` of any kind; `make_spec` gets the callable, the name and the ``code.*`` attributes."""
    if isinstance(target, (classmethod, staticmethod)):
        return type(target)(apply(target.__func__, make_spec, wrappers))
    _check_target(target)
    named = named_by(target)
    name = f"{named.__module__}.{named.__qualname__}"
    spec = make_spec(target, name, code_attributes(named, name))
    wrapper = wrappers[_kind(target)](target, spec)
    functools.update_wrapper(wrapper, target)
    for attribute in _NAMES:
        setattr(wrapper, attribute, getattr(named, attribute))
    if _is_generator_coroutine(target):
        return types.coroutine(wrapper)
    return wrapper


def _check_target(target: object) -> None:
    if isinstance(target, type):
        raise TypeError(
            f"a class cannot be traced: decorate the methods of {target.__qualname__}, not the class"
        )
    if not callable(target):
        fix = "decorate a function"
        if isinstance(target, property):
            fix = "decorate the getter, below @property"
        raise TypeError(f"{target!r} cannot be traced, for it cannot be called: {fix}")


def _kind(target: AnyCallable) -> Kind:
    inner = without_partial(target)
    call = inner
    if not inspect.isroutine(inner):
        call = getattr(type(inner), "__call__", inner)  # noqa: B004 - the method, not a test
    if inspect.isasyncgenfunction(call):
        return "async generator"
    if inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(call):
        return "coroutine"
    if inspect.isgeneratorfunction(call):
        return "generator"
    return "call"


def _is_generator_coroutine(target: AnyCallable) -> bool:
    code = getattr(without_partial(target), "__code__", None)
    return code is not None and bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)
