"""The options of `instrument_boto3`, checked at set-up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from obs_core.integration import (
    FormerNames,
    Globs,
    Implementation,
    Roots,
    check_callable,
    check_choice,
    check_names,
    option_error,
)
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import Span, TracerProvider

from obs_aws._semconv import FORMER_NAMES

Propagator = Literal["w3c", "xray"] | TextMapPropagator
StartHook = Callable[[Span, str, str, Mapping[str, Any]], None]
EndHook = Callable[[Span, str, str, Mapping[str, Any]], None]

#: Globs ``Service.Operation:ErrorCode`` of error responses that an application provokes on purpose.
DEFAULT_EXPECTED = ("*:ConditionalCheckFailedException", "S3.Head*:404")
#: The options that contrib's implementation honours too.
_HONOURED = (
    "expected",
    "roots",
    "include_broker",
    "capture_error_messages",
    "tracer_provider",
)
_SWITCHES = (
    *("include_broker", "include_empty_polls"),
    *("capture_s3_keys", "capture_error_messages"),
    *("capture_gen_ai_content", "kinesis_context"),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options, described in `instrument_boto3`. Immutable, hence safe to share between threads.

    Raises:
        ConfigurationError: An option has a value of the wrong kind.
    """

    propagator: Propagator = "w3c"
    expected: Collection[str] = DEFAULT_EXPECTED
    roots: Roots = "auto"
    include_broker: bool = False
    include_empty_polls: bool = False
    capture_s3_keys: bool = False
    capture_error_messages: bool = False
    capture_gen_ai_content: bool = False
    kinesis_context: bool = False
    on_start: StartHook | None = None
    on_end: EndHook | None = None
    tracer_provider: TracerProvider | None = None
    implementation: Implementation = field(default_factory=Implementation)
    former_names: FormerNames = field(
        default_factory=FORMER_NAMES.in_force, compare=False
    )
    _expected: Globs = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.propagator, TextMapPropagator):
            check_choice("propagator", self.propagator, ("w3c", "xray"))
        check_choice("roots", self.roots, ("auto", True, False))
        for name in _SWITCHES:
            check_choice(name, getattr(self, name), (True, False))
        for name in ("on_start", "on_end"):
            check_callable(name, getattr(self, name))
        example = "SQS.*:QueueDoesNotExist"
        names = check_names("expected", self.expected, example=example)
        if not all(name.count(":") == 1 for name in names):
            fix = f"write 'Service.Operation:ErrorCode', for instance [{example!r}]"
            raise option_error("expected", self.expected, fix)
        object.__setattr__(self, "expected", names)
        object.__setattr__(self, "_expected", Globs(names))

    def check_implementation(self) -> None:
        """Refuse options that the chosen implementation does not have."""
        self.implementation.check_options(self, Options(), honoured=_HONOURED)

    def expects(self, outcome: str) -> bool:
        """Whether ``Service.Operation:ErrorCode`` is no error."""
        return self._expected.matches(outcome)
