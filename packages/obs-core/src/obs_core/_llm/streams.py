"""Watch responses that are read after the call: streams, context managers that open a stream, unread responses.

The response stays the object that the SDK made. Its class becomes a subclass of the same name, so that items read by the
SDK's own methods (``get_final_response()``, ``text_stream``) are observed too. An object whose class cannot be extended,
such as a generator, is replaced by a proxy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any
from weakref import finalize

from obs_core._decorators.generator_span import GeneratorSpan
from obs_core._llm.fields import is_raw_response, raw_content
from obs_core._llm.watched import LOOPS, PARTS, Watched, is_watched

_FORWARDED = (
    *("__iter__", "__next__", "__aiter__", "__anext__"),
    *("__enter__", "__exit__", "__aenter__", "__aexit__"),
    *("close", "aclose", "parse"),
)


def watched(answer: Any, answer_span: GeneratorSpan) -> Any:
    """Return `answer` or its proxy, with each chunk reported to `answer_span`; None if `answer` is no stream."""
    kind = type(answer)
    if isinstance(answer, MutableMapping):
        return _watched_entry(answer, answer_span)
    if is_raw_response(answer):
        return None if raw_content(answer) else _watch(answer, answer_span)
    if hasattr(kind, "read") or hasattr(kind, "json"):
        return None  # a file or a bare HTTP response, iterable or not
    if hasattr(kind, "__anext__") or hasattr(kind, "__next__"):
        return _watch(answer, answer_span)
    if (hasattr(kind, "__aenter__") or hasattr(kind, "__enter__")) and _is_pending(
        answer
    ):
        return _watch(answer, answer_span)
    return None


def _is_pending(answer: Any) -> bool:
    """Whether `answer` is a context manager that opens a stream, not a complete response with ``close``."""
    return not hasattr(answer, "usage") and not hasattr(answer, "choices")


def _watched_entry(
    answer: MutableMapping[str, Any], answer_span: GeneratorSpan
) -> MutableMapping[str, Any] | None:
    """Watch the event stream inside a response dict of Bedrock."""
    for key in ("stream", "body"):
        events = answer.get(key)
        # the "body" of invoke_model is one JSON document, read as a file
        if (
            events is None
            or isinstance(events, (str, list, dict))
            or hasattr(events, "read")
        ):
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
        answer = _subclass(kind, _proxy_class(kind))(answer)
        vars(answer).update(state)
    return answer


@lru_cache(maxsize=64)
def _subclass(kind: Any, base: Any) -> Any:
    """Return a subclass of `base` that watches the methods of `kind`."""
    members: dict[str, Any] = {}
    for part in _parts(kind):
        members.update(_methods(part))
    for name in ("__module__", "__qualname__", "__doc__"):
        members[name] = getattr(kind, name)
    members["_obs_watch"] = staticmethod(watched)
    return type(kind.__name__, (base,), members)


def _parts(kind: type) -> list[type]:
    """Return the classes whose methods watch those of `kind`."""
    parts = [Watched, *_for_methods_of(kind, PARTS)]
    is_iterator = hasattr(kind, "__next__") or hasattr(kind, "__anext__")
    if not is_iterator:
        parts += _for_methods_of(kind, LOOPS)[:1]
    return parts


def _for_methods_of(kind: type, parts: Mapping[str, type]) -> list[type]:
    return [part for name, part in parts.items() if hasattr(kind, name)]


def _methods(part: type) -> dict[str, Any]:
    return {name: member for name, member in vars(part).items() if callable(member)}


@lru_cache(maxsize=64)
def _proxy_class(kind: Any) -> type:
    methods = {name: _forwarded(name) for name in _FORWARDED if hasattr(kind, name)}
    return type(kind.__name__, (_Proxy,), methods)


def _forwarded(name: str) -> Callable[..., Any]:
    return lambda self, *args: getattr(self._obs_inner, name)(*args)


class _Proxy:
    """A proxy for an object whose class cannot be extended; `isinstance` sees the class of the object."""

    def __init__(self, inner: Any) -> None:
        self._obs_inner = inner

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._obs_inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._obs_inner, name)

    def __repr__(self) -> str:
        return repr(self._obs_inner)
