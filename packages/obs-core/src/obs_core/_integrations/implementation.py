"""The instrumentation that makes the spans of a library: ours, or OpenTelemetry's own (contrib) with its spans shaped."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import wraps
from typing import Any, Literal, NoReturn

from obs_core._integrations.options import check_choice, option_error
from obs_core._safety.containment import call_contained, warn_once
from obs_core.exceptions import ConfigurationError

ImplementationName = Literal["obs", "contrib"]
VARIABLE = "OBS_IMPLEMENTATION"
_NAMES = ("obs", "contrib")
#: The instrumentations that can be contrib's.
_CHOOSABLE = ("boto3", "grpc_client", "grpc_server", "redis", "sqlalchemy")
_OWN = ("tracer_provider", "meter_provider")


@dataclass(frozen=True, slots=True)
class Implementation:
    """The implementation chosen for a call of ``instrument_x``.

    Attributes:
        name: ``"obs"`` or ``"contrib"``.
        contrib_options: Options of contrib's own instrumentor.
        is_named: Whether the call named it; otherwise it is the environment's or the default.
    """

    name: ImplementationName = "obs"
    contrib_options: Mapping[str, object] = field(default_factory=dict)
    is_named: bool = field(default=False, compare=False)

    @property
    def is_contrib(self) -> bool:
        """Whether contrib's instrumentation makes the spans."""
        return self.name == "contrib"

    def contained_options(self) -> dict[str, object]:
        """Return `contrib_options` with each hook contained: an exception of it is logged, and the call goes on."""
        return {
            name: _contained(name, value) if _is_hook(value) else value
            for name, value in self.contrib_options.items()
        }

    def check_options(
        self, options: Any, defaults: Any, *, honoured: Collection[str]
    ) -> None:
        """Refuse options that only our implementation has, where contrib's was chosen; warn if the environment chose it.

        Args:
            options: A dataclass of the options of the call.
            defaults: The same without any.
            honoured: The names that contrib's implementation honours too.
        """
        if not self.is_contrib:
            return
        given = {
            each.name
            for each in fields(options)
            if each.compare
            and getattr(options, each.name) != getattr(defaults, each.name)
        }
        if others := sorted(given - {"implementation", *honoured}):
            self.refuse(
                ConfigurationError(
                    f"{', '.join(others)}: not an option of implementation='contrib'. Leave it out, use contrib_options for "
                    "contrib's own, or choose implementation='obs'"
                )
            )

    def refuse(self, error: Exception) -> None:
        """Raise `error` where the call named the implementation; where the environment did, warn once and go on."""
        if self.is_named:
            raise error
        warn_once(f"implementation:{error}", f"{VARIABLE}: {error}")


def choose_implementation(
    instrumentation: str,
    name: ImplementationName | None,
    contrib_options: Mapping[str, object] | None = None,
) -> Implementation:
    """Return the implementation for a call of ``instrument_x``.

    Args:
        instrumentation: For instance ``"redis"``.
        name: As named in the call; None: as ``OBS_IMPLEMENTATION`` says (``contrib``, or ``redis=contrib,sqlalchemy=obs``),
            or else ``"obs"``.
        contrib_options: Options of contrib's instrumentor.

    Raises:
        ConfigurationError: `name` or the variable has an unknown value, or there are `contrib_options` for ours.
    """
    if name is not None:
        check_choice("implementation", name, _NAMES)
    chosen = name or _of_environment(instrumentation)
    options = dict(contrib_options or {})
    if options and chosen == "obs":
        fix = "they are contrib's own: name implementation='contrib' too, or leave them out"
        raise option_error("contrib_options", sorted(options), fix)
    if own := sorted(options.keys() & set(_OWN)):
        fix = "give it as an argument of its own, so that the spans are shaped"
        raise option_error("contrib_options", own, fix)
    return Implementation(chosen, options, is_named=name is not None)


def _of_environment(instrumentation: str) -> ImplementationName:
    chosen: dict[str, ImplementationName] = dict(_entries())
    return chosen.get(instrumentation) or chosen.get("") or "obs"


def _entries() -> Iterator[tuple[str, ImplementationName]]:
    """Yield instrumentation and implementation; for all others the instrumentation is empty."""
    text = os.environ.get(VARIABLE, "")
    for entry in filter(None, (part.strip() for part in text.split(","))):
        instrumentation, equals, name = entry.rpartition("=")
        if equals and instrumentation.strip() not in _CHOOSABLE:
            _wrong(text, f"{instrumentation!r} is none of {', '.join(_CHOOSABLE)}")
        if name.strip() == "obs":
            yield instrumentation.strip(), "obs"
        elif name.strip() == "contrib":
            yield instrumentation.strip(), "contrib"
        else:
            _wrong(text, f"{name!r} is neither 'obs' nor 'contrib'")


def _wrong(text: str, what: str) -> NoReturn:
    fix = "write contrib, or for instance redis=contrib,sqlalchemy=obs"
    raise ConfigurationError(f"{VARIABLE}={text!r}: {what}; {fix}")


def _is_hook(value: object) -> bool:
    return callable(value) and not isinstance(value, type)


def _contained(name: str, hook: Any) -> object:
    @wraps(hook)  # contrib reads the name of a hook
    def contained(*args: Any, **kwargs: Any) -> Any:
        return call_contained(f"contrib_options[{name!r}]", hook, *args, **kwargs)

    return contained
