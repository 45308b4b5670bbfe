"""What the user asked for, checked once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import translate
from functools import lru_cache
from typing import Any, Literal

from obs_core.exceptions import ConfigurationError
from opentelemetry.trace import Span, TracerProvider

from obs_aws._semconv import wants_former_names

Propagator = Literal["w3c", "xray"]
Roots = bool | Literal["auto"]
RequestHook = Callable[[Span, str, str, Mapping[str, Any]], None]
ResponseHook = Callable[[Span, str, str, Mapping[str, Any]], None]

#: ``Service.Operation:ErrorCode`` globs of answers that an application asks for on purpose.
EXPECTED_ERRORS = ("*:ConditionalCheckFailedException", "S3.Head*:404")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one `instrument_boto3`; that function describes them.

    Raises:
        ConfigurationError: An option has no meaning; at set-up, never later.
    """

    propagator: Propagator = "w3c"
    expected_errors: tuple[str, ...] = EXPECTED_ERRORS
    roots: Roots = "auto"
    empty_polls: bool = False
    s3_keys: bool = False
    error_messages: bool = False
    gen_ai_content: bool = False
    kinesis_context: bool = False
    request_hook: RequestHook | None = None
    response_hook: ResponseHook | None = None
    tracer_provider: TracerProvider | None = None
    former_names: bool = field(default_factory=wants_former_names)

    def __post_init__(self) -> None:
        _check_choice("propagator", self.propagator, ("w3c", "xray"))
        _check_choice("roots", self.roots, ("auto", True, False))
        for glob in self.expected_errors:
            if glob.count(":") != 1:
                raise ConfigurationError(
                    f"expected_errors has {glob!r}; write 'Service.Operation:ErrorCode', for instance 'SQS.*:QueueDoesNotExist'"
                )

    def by_name(self) -> dict[str, object]:
        """Return the options, to compare with another call's."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def expects(self, outcome: str) -> bool:
        """Whether ``Service.Operation:ErrorCode`` is an answer and no error."""
        return _pattern(self.expected_errors).match(outcome) is not None


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ConfigurationError(
            f"{name}={value!r} is not known; choose one of {', '.join(map(repr, choices))}"
        )


@lru_cache(maxsize=64)
def _pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, globs)) or r"(?!)")
