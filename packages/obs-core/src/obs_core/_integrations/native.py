"""Libraries that trace themselves, and the policy for all of them: whoever opens the span of a call makes its only one.

Below a span that a library has opened, our integrations make no span for the same call; below a span of `trace_llm` the
library's own span joins it. The table is the only place that knows these libraries: see ``docs/self-traced.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

#: The conventions have a list where a library has one text.
FINISH_REASONS = "gen_ai.response.finish_reasons"

Call = Literal["request", "model", "query", "message", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeTracer:
    """A library that traces itself.

    Attributes:
        distribution: Its distribution, for instance ``"anthropic"``.
        since: The first version that does.
        scope: The instrumentation scope of its spans, or the scope's beginning; empty: it makes metrics alone.
        call: Its span is a call of this kind; empty: it makes no span.
        is_http: The HTTP requests of the call are the call itself, and get no span of their own.
        names: Attributes under other names than the conventions', and those of the conventions.
        off: How to switch it off; empty: it is off unless asked for, or cannot be.
    """

    distribution: str
    since: str
    scope: str = ""
    call: Call = ""
    is_http: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    off: str = ""


NATIVE_TRACERS: tuple[NativeTracer, ...] = (
    NativeTracer(
        distribution="anthropic",
        since="1.14",
        scope="com.anthropic.sdk.python",
        call="model",
        is_http=True,
        names={
            "gen_ai.usage.cache_write.input_tokens": "gen_ai.usage.cache_creation.input_tokens",
            "anthropic.message.stop_reason": FINISH_REASONS,
        },
        off="ANTHROPIC_OPEN_TELEMETRY=false",
    ),
    NativeTracer(
        distribution="elasticsearch",
        since="8.13",
        scope="elasticsearch-api",
        call="query",
        is_http=True,
        off="OTEL_PYTHON_INSTRUMENTATION_ELASTICSEARCH_ENABLED=false",
    ),
    NativeTracer(
        distribution="fastapi",
        since="0.142",
        scope="fastapi",
        call="request",
        off='FastAPI(telemetry={"tracing": False})',
    ),
    NativeTracer(distribution="grpcio-observability", since="1.62"),
    NativeTracer(
        distribution="mcp", since="2.0", scope="mcp-python-sdk", call="message"
    ),
    NativeTracer(
        distribution="mistralai",
        since="1.10",
        scope="mistralai_sdk_tracer",
        call="model",
        names={"http.url": "url.full"},
    ),
    NativeTracer(distribution="redis", since="7.2"),
    NativeTracer(
        distribution="starlette",
        since="1.7",
        scope="starlette",
        call="request",
    ),
)
_JOINED, _COUNTED = "_obs_joined", "_obs_counted"
_BY_SCOPE = tuple((each.scope, each) for each in NATIVE_TRACERS if each.scope)


@lru_cache(maxsize=256)
def native_tracer(scope: str) -> NativeTracer | None:
    """Return the library whose instrumentation scope is `scope`, or begins it before a dot."""
    for known, tracer in _BY_SCOPE:
        if scope == known or scope.startswith(f"{known}."):
            return tracer
    return None


def in_conventions_words(
    names: Mapping[str, str], key: str, value: Any
) -> tuple[str, Any]:
    """Return the attribute under the conventions' name, with a value of the conventions' type."""
    name = names.get(key, key)
    if name == FINISH_REASONS and isinstance(value, str):
        return name, (value,)
    return name, value


def join_once(span: Any) -> bool:
    """Whether a library's call may join the open `span`: the first one may, and counts there; a later one has its own span."""
    mine, marks = object(), vars(span)
    if marks.setdefault(_JOINED, mine) is mine:
        return True
    marks[_COUNTED] = True
    return False


def counts_tokens(span: Any) -> bool:
    """Whether `span` is to have the tokens of its answer: not where calls below it have counted theirs."""
    return _COUNTED not in getattr(span, "__dict__", ())


def native_call(span: Any) -> NativeTracer | None:
    """Return the library that has opened `span` for a call of its own, or None."""
    scope = getattr(span, "instrumentation_scope", None)
    return None if scope is None else native_tracer(str(scope.name))
