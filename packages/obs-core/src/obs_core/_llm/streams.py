"""Watch an answer that is read later: a stream, a context manager that opens one, or a response not read yet.

The answer stays the object that the SDK made: its class becomes a subclass of the same name, so that what the SDK's own
methods read (``get_final_response()``, ``text_stream``) is seen as well. An object whose class cannot be extended, such as
a generator, is replaced by one that passes everything on to it.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from functools import lru_cache
from typing import Any
from weakref import finalize

from obs_core._decorators.generator_span import GeneratorSpan
from obs_core._llm.responses import is_raw_response, raw_content
from obs_core._llm.watched import LOOPS, PARTS, Watched, is_watched

_FORWARDED = (
    *("__iter__", "__next__", "__aiter__", "__anext__"),
    *("__enter__", "__exit__", "__aenter__", "__aexit__"),
    *("close", "aclose", "parse"),
)


def watched(answer: Any, answer_span: GeneratorSpan) -> Any:
    """Return `answer`, or what stands for it, with its chunks shown to `answer_span`; None where it is no stream."""
    kind = type(answer)
    if isinstance(answer, MutableMapping):
        return _watched_entry(answer, answer_span)
    if is_raw_response(answer):
        return _watch(answer, answer_span) if raw_content(answer) is None else None
    if hasattr(kind, "read") or hasattr(kind, "json"):
        return None  # a file or a bare HTTP response, iterable or not
    if hasattr(kind, "__anext__") or hasattr(kind, "__next__"):
        return _watch(answer, answer_span)
    if (hasattr(kind, "__aenter__") or hasattr(kind, "__enter__")) and _is_pending(answer):
        return _watch(answer, answer_span)
    return None


def _is_pending(answer: Any) -> bool:
    """Whether `answer` is a context manager that opens a stream, and no answer that can be closed."""
    return not hasattr(answer, "usage") and not hasattr(answer, "choices")


def _watched_entry(
    answer: MutableMapping[str, Any], answer_span: GeneratorSpan
) -> MutableMapping[str, Any] | None:
    """Watch the event stream in Bedrock's dict."""
    for key in ("stream", "body"):
        events = answer.get(key)
        # the "body" of invoke_model is one JSON document, read as a file
        if events is None or isinstance(events, (str, list, dict)) or hasattr(events, "read"):
            continue
        if hasattr(events, "__aiter__") or hasattr(events, "__iter__"):
            answer[key] = _watch(events, answer_span)
            return answer
    return None


def _watch(answer: Any, answer_span: GeneratorSpan) -> Any:
    if not is_watched(answer):
        answer = _extended(answer)
    if answer_span not in answer._obs_spans:
        answer._obs_spans.append(answer_span)
        answer._obs_finalizers.append(finalize(answer, answer_span.end))
    return answer


def _extended(answer: Any) -> Any:
    kind: Any = type(answer)
    state = {"_obs_spans": [], "_obs_finalizers": [], "_obs_busy": False}
    try:
        vars(answer).update(state)
        object.__setattr__(answer, "__class__", _subclass(kind, kind))
    except TypeError:
        answer = _subclass(kind, _standing_for(kind))(answer)
        vars(answer).update(state)
    return answer


@lru_cache(maxsize=64)
def _subclass(kind: Any, base: Any) -> Any:
    """Return a subclass of `base` that watches what a `kind` can do."""
    parts = [Watched, *(part for name, part in PARTS.items() if hasattr(kind, name))]
    if not hasattr(kind, "__next__") and not hasattr(kind, "__anext__"):
        parts += [part for name, part in LOOPS.items() if hasattr(kind, name)][:1]
    methods = dict(item for part in parts for item in vars(part).items() if callable(item[1]))
    names = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(kind.__name__, (base,), {**methods, **names, "_obs_watch": staticmethod(watched)})


@lru_cache(maxsize=64)
def _standing_for(kind: Any) -> type:
    methods = {name: _forwarded(name) for name in _FORWARDED if hasattr(kind, name)}
    return type(kind.__name__, (_StandIn,), methods)


def _forwarded(name: str) -> Callable[..., Any]:
    return lambda self, *args: getattr(self._obs_inner, name)(*args)


class _StandIn:
    """Passes everything on to an object whose class cannot be extended, `isinstance` included."""

    def __init__(self, inner: Any) -> None:
        self._obs_inner = inner

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._obs_inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._obs_inner, name)

    def __repr__(self) -> str:
        return repr(self._obs_inner)
