"""The changes to an instrumentation's spans: which are left out, their names, attributes and descriptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind
from opentelemetry.util.types import Attributes, AttributeValue

from obs_core._integrations.policy import SpanPolicy
from obs_core._safety.containment import call_contained
from obs_core._safety.text import truncate

Edit = Callable[[Span], None]
Filter = Callable[[str, AttributeValue], "AttributeValue | None"]
Outcome = Callable[[Span, BaseException], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanShape:
    """Changes to each span; every part is optional, and a part that raises is logged and skipped.

    Attributes:
        policy: Decides at each start whether the span is wanted: roots, suppression, unsampled parents, a queue's own calls.
        require_parent: Called at each start: whether to leave out a span without a valid parent.
        drop: Whether to leave out the span of this name, kind and start attributes; its children join its parent.
        rename: Returns the name to start with, given name, kind and start attributes.
        attribute: Returns the value to record for a key, or None to leave the attribute out; called for start attributes
            and for later ones.
        added: Attributes that every span starts with.
        description: Returns the status description to record.
        outcome: Called with the span and the exception that the instrumentation records, or handles while it sets the status
            ERROR: sets status and ``error.type`` in place of it, and returns whether it is an error. The ``exception`` event
            is then without message, and left out where it is no error.
        judges_status: Whether `outcome` also judges a status ERROR that is set while an exception is handled. Default True;
            False where that may be an exception of the application.
        edit: Called with the still recording span just before its end.
        max_value_bytes: Longest UTF-8 size of a string attribute, or of a sequence in all; longer values are cut and end in
            ``…``. Default: no bound.
        max_name_bytes: Longest UTF-8 size of a name; longer names are cut and end in ``…``. Default: no bound.
    """

    policy: SpanPolicy | None = None
    require_parent: Callable[[], bool] | None = None
    drop: Callable[[str, SpanKind, Mapping[str, AttributeValue]], bool] | None = None
    rename: Callable[[str, SpanKind, Mapping[str, AttributeValue]], str] | None = None
    attribute: Filter | None = None
    added: Mapping[str, AttributeValue] = field(default_factory=dict)
    description: Callable[[str], str | None] | None = None
    outcome: Outcome | None = None
    judges_status: bool = True
    edit: Edit | None = None
    max_value_bytes: int | None = None
    max_name_bytes: int | None = None

    def leaves_out(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, AttributeValue],
        parent: SpanContext,
        context: Context | None = None,
    ) -> bool:
        """Whether this span is not to be made at all."""
        if self.policy is not None and not self.policy.wants_span(context):
            return True
        if (
            self.require_parent
            and not parent.is_valid
            and call_contained("require_parent", self.require_parent)
        ):
            return True
        return bool(
            self.drop and call_contained("drop", self.drop, name, kind, attributes)
        )

    def name(
        self, name: str, kind: SpanKind, attributes: Mapping[str, AttributeValue]
    ) -> str:
        """The name to start the span with."""
        if self.rename:
            name = call_contained("rename", self.rename, name, kind, attributes) or name
        return self.short_name(name)

    def short_name(self, name: str) -> str:
        """Return `name`, cut to the longest size of a name."""
        size = self.max_name_bytes
        return name if size is None else truncate(name, size)

    def value(self, key: str, value: AttributeValue) -> AttributeValue | None:
        """Return the value to record under `key`, or None; a filter that raises must not leak the value."""
        shaped: AttributeValue | None = value
        if self.attribute:
            shaped = call_contained("attribute", self.attribute, key, value)
        if self.max_value_bytes is None or shaped is None:
            return shaped
        return cut(shaped, self.max_value_bytes)

    def attributes(self, attributes: Attributes) -> dict[str, AttributeValue]:
        """The attributes to record of those given."""
        shaped: dict[str, AttributeValue] = {}
        for key, value in (attributes or {}).items():
            kept = self.value(key, value)
            if kept is not None:
                shaped[key] = kept
        return shaped


def cut(value: AttributeValue, max_bytes: int) -> AttributeValue:
    """Return `value` in at most `max_bytes` of UTF-8; of a sequence as many items as have room, 8 bytes for a number."""
    if isinstance(value, str):
        return truncate(value, max_bytes)
    if not isinstance(value, Sequence):
        return value
    kept: list[object] = []
    for item in value:
        if max_bytes <= 0:
            break
        text = isinstance(item, (str, bytes))
        kept.append(truncate(item, max_bytes) if isinstance(item, str) else item)
        max_bytes -= len(item) if text else 8  # type: ignore[arg-type]
    return cast("AttributeValue", kept)
