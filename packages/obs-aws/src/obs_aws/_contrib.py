"""Contrib's instrumentation of botocore as the implementation: its spans without secrets, expected answers no errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from obs_core.integration import (
    ContribEngine,
    SpanShape,
)
from opentelemetry.util.types import AttributeValue

from obs_aws._options import Options
from obs_aws._outcome import record_failure
from obs_aws._patches import INSTRUMENTORS, targets
from obs_aws._scrub import mask
from obs_aws._state import LIBRARY

# values of items, as JSON
_LEFT_OUT = "aws.dynamodb.item_collection_metrics"


def _attribute(key: str, value: Any) -> AttributeValue | None:
    if key == _LEFT_OUT:
        return None
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, (list, tuple)):
        return [mask(each) if isinstance(each, str) else each for each in value]
    kept: AttributeValue = value
    return kept


_botocore, _aiobotocore = INSTRUMENTORS
engine = ContribEngine(
    {_botocore: None, _aiobotocore: "aiobotocore"},
    shape=SpanShape(attribute=_attribute),
    is_ours_active=lambda: bool(targets),
    library=LIBRARY,
)


def install(loader: object | None, options: Options) -> Callable[[], None]:
    """Let contrib trace every client, of every session; return the undo.

    Raises:
        ConfigurationError: A session was given: contrib traces all or none.
    """
    if loader is not None:
        what = "contrib traces all sessions or none: leave the session out"
        raise engine.unsupported(what)

    def outcome(span: Any, error: BaseException) -> bool:
        attributes = span.attributes or {}
        words = (
            str(attributes.get(f"rpc.{name}", "")) for name in ("service", "method")
        )
        return record_failure(span, error, operation=".".join(words), options=options)

    provider = engine.provider(options, outcome=outcome)
    return engine.trace_all(options.implementation, tracer_provider=provider)
