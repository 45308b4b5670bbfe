"""The options of `instrument_boto3`, checked at set-up."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import translate
from functools import lru_cache
from typing import Any, Literal

from obs_core.exceptions import ConfigurationError
from obs_core.integration import Roots
from opentelemetry.trace import Span, TracerProvider

from obs_aws._semconv import wants_former_names

Propagator = Literal["w3c", "xray"]
StartHook = Callable[[Span, str, str, Mapping[str, Any]], None]
EndHook = Callable[[Span, str, str, Mapping[str, Any]], None]

#: Globs ``Service.Operation:ErrorCode`` of error responses that an application provokes on purpose.
DEFAULT_EXPECTED = ("*:ConditionalCheckFailedException", "S3.Head*:404")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options, described in `instrument_boto3`. Immutable, hence safe to share between threads.

    Raises:
        ConfigurationError: An option has a value of the wrong kind.
    """

    propagator: Propagator = "w3c"
    expected: Collection[str] = DEFAULT_EXPECTED
    roots: Roots = "auto"
    include_empty_polls: bool = False
    capture_s3_keys: bool = False
    capture_error_messages: bool = False
    capture_gen_ai_content: bool = False
    kinesis_context: bool = False
    on_start: StartHook | None = None
    on_end: EndHook | None = None
    tracer_provider: TracerProvider | None = None
    former_names: bool = field(default_factory=wants_former_names)

    def __post_init__(self) -> None:
        _one_of("propagator", self.propagator, ("w3c", "xray"))
        _one_of("roots", self.roots, ("auto", True, False))
        for name in _SWITCHES:
            _one_of(name, getattr(self, name), (True, False))
        for name in ("on_start", "on_end"):
            hook = getattr(self, name)
            _check(name, hook, hook is None or callable(hook), "give a callable")
        _check("expected", self.expected, _are_outcomes(self.expected), _EXPECTED_FIX)
        object.__setattr__(self, "expected", tuple(self.expected))

    def by_name(self) -> dict[str, object]:
        """Return the options by name, to compare with those of another call."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def expects(self, outcome: str) -> bool:
        """Whether ``Service.Operation:ErrorCode`` is no error."""
        return _pattern(tuple(self.expected)).match(outcome) is not None


_SWITCHES = (
    "include_empty_polls",
    "capture_s3_keys",
    "capture_error_messages",
    "capture_gen_ai_content",
    "kinesis_context",
)
_EXPECTED_FIX = (
    "give a list of 'Service.Operation:ErrorCode', for instance ['SQS.*:QueueDoesNotExist']"
)


def _are_outcomes(globs: object) -> bool:
    if isinstance(globs, str) or not isinstance(globs, Collection):
        return False
    return all(isinstance(glob, str) and glob.count(":") == 1 for glob in globs)


def _one_of(name: str, value: object, known: tuple[object, ...]) -> None:
    _check(name, value, value in known, f"use {' or '.join(map(repr, known))}")


def _check(name: str, value: object, is_valid: bool, fix: str) -> None:
    if not is_valid:
        raise ConfigurationError(f"instrument_boto3: {name}={value!r} is not valid: {fix}")


@lru_cache(maxsize=64)
def _pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, globs)) or r"(?!)")
