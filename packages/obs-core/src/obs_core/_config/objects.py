"""Settings that are objects of the SDK's classes: a sampler, an id generator."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from obs_core._config import validators as check
from obs_core.exceptions import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Sampler

_GROUP = "opentelemetry_id_generator"
_VARIABLE = "OTEL_PYTHON_ID_GENERATOR"


def sampler(name: str, value: object) -> Sampler:
    """An object of a class of `opentelemetry.sdk.trace.sampling.Sampler`."""
    from opentelemetry.sdk.trace.sampling import Sampler

    if not isinstance(value, Sampler):
        raise _no_object(name, value, Sampler)
    return value


def id_generator(name: str, value: object) -> IdGenerator:
    """An object of a class of `opentelemetry.sdk.trace.id_generator.IdGenerator`."""
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    if not isinstance(value, IdGenerator):
        also = f", or set {_VARIABLE} to the name of an installed one"
        raise _no_object(name, value, IdGenerator, also)
    return value


def _no_object(
    name: str, value: object, cls: type, also: str = ""
) -> ConfigurationError:
    if isinstance(value, type) and issubclass(value, cls):
        return check.error(name, value, f"give an object: {value.__name__}(…)")
    wanted = f"{cls.__module__}.{cls.__qualname__}"
    return check.error(name, value, f"give an object of a class of {wanted}{also}")


def named_id_generator(text: str) -> IdGenerator | None:
    """Return the installed generator of this name; None for ``random``, the default.

    Raises:
        ValueError: There is none, or it cannot be made.
    """
    return None if text == "random" else _made(text)


@lru_cache(maxsize=4)
def _made(name: str) -> IdGenerator:
    """Return one object for all set-ups: equal settings are one set-up."""
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    found = next(iter(entry_points(group=_GROUP, name=name)), None)
    if found is None:
        raise ValueError(
            f"no installed package has an id generator of this name (entry points {_GROUP}): install it"
        )
    try:
        made = found.load()()
    except Exception as error:  # noqa: BLE001 - any package's any error
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"it cannot be made ({reason}): mend it") from None
    if not isinstance(made, IdGenerator):
        kind = type(made).__name__
        raise ValueError(f"it makes an {kind}, which is no IdGenerator: name another")
    return made


def shown_sampler(_: object, value: Sampler | None) -> object:
    """Return what the sampler says of itself."""
    return None if value is None else description(value)


def shown_id_generator(_: object, value: Any) -> object:
    """Return the class's name."""
    return None if value is None else type(value).__name__


def description(sampler: Sampler) -> str:
    """Return what `sampler` says of itself; its class's name where that fails. Never raises."""
    try:
        return str(sampler.get_description())
    except Exception:  # noqa: BLE001 - a sampler of the user's may raise anything
        return type(sampler).__name__
