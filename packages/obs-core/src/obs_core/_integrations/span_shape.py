"""The changes to an instrumentation's spans: which are left out, their names, attributes and descriptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from opentelemetry.trace import Span, SpanContext, SpanKind
from opentelemetry.util.types import Attributes, AttributeValue

from obs_core._safety.containment import call_contained
from obs_core._safety.text import truncate

Edit = Callable[[Span], None]
Filter = Callable[[str, AttributeValue], "AttributeValue | None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanShape:
    """Changes to each span; every part is optional, and a part that raises is logged and skipped.

    Attributes:
        require_parent: Called at each start: whether to leave out a span without a valid parent.
        drop: Whether to leave out the span of this name, kind and start attributes; its children join its parent.
        rename: Returns the name to start with, given name, kind and start attributes.
        attribute: Returns the value to record for a key, or None to leave the attribute out; called for start attributes
            and for later ones.
        description: Returns the status description to record.
        edit: Called with the still recording span just before its end.
        max_value_bytes: Longest UTF-8 size of a string attribute; longer values are cut and end in ``…``. Default: no
            bound.
    """

    require_parent: Callable[[], bool] | None = None
    drop: Callable[[str, SpanKind, Mapping[str, AttributeValue]], bool] | None = None
    rename: Callable[[str, SpanKind, Mapping[str, AttributeValue]], str] | None = None
    attribute: Filter | None = None
    description: Callable[[str], str | None] | None = None
    edit: Edit | None = None
    max_value_bytes: int | None = None

    def leaves_out(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, AttributeValue],
        parent: SpanContext,
    ) -> bool:
        """Whether this span is not to be made at all."""
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
        return (
            self.rename
            and call_contained("rename", self.rename, name, kind, attributes)
        ) or name

    def value(self, key: str, value: AttributeValue) -> AttributeValue | None:
        """Return the value to record under `key`, or None; a filter that raises must not leak the value."""
        shaped: AttributeValue | None = value
        if self.attribute:
            shaped = call_contained("attribute", self.attribute, key, value)
        if self.max_value_bytes is not None and isinstance(shaped, str):
            return truncate(shaped, self.max_value_bytes)
        return shaped

    def attributes(self, attributes: Attributes) -> dict[str, AttributeValue]:
        """The attributes to record of those given."""
        shaped: dict[str, AttributeValue] = {}
        for key, value in (attributes or {}).items():
            kept = self.value(key, value)
            if kept is not None:
                shaped[key] = kept
        return shaped
