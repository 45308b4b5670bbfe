"""The tracer in force, and whether a decorated call needs a span."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    Tracer,
    TracerProvider,
    set_span_in_context,
)

from obs_core._safety.containment import log_failure
from obs_core._spans.runtime_context import get_current

#: The conventions' release whose names all packages use (https://opentelemetry.io/docs/specs/otel/schemas/).
SCHEMA_URL = "https://opentelemetry.io/schemas/1.36.0"
_NOT_LOOKED = object()
# under which keys a context has its span and its baggage: one look, in place of the four calls of the public getters
(SPAN_KEY,) = set_span_in_context(INVALID_SPAN, Context())
(BAGGAGE_KEY,) = baggage.set_baggage("key", "", Context())

# (the provider that was looked at, its tracer, whether its sampler keeps an unsampled parent's decision), replaced as a whole
_in_force: tuple[object, Tracer | None, bool] = (_NOT_LOOKED, None, False)
_unsampled: NonRecordingSpan = NonRecordingSpan(INVALID_SPAN_CONTEXT)
#: Another object after each change of what a known provider's sampler answers: see `forget_answers`.
epoch: object = object()


def package_tracer(distribution: str, provider: TracerProvider | None = None) -> Tracer:
    """Return the tracer of a package of ours: the scope has name, version and schema URL.

    Args:
        distribution: The installed package, for instance ``"obs-celery"``; the scope is ``"obs_celery"``.
        provider: Default: the global provider, also if set later.
    """
    scope, installed = distribution.replace("-", "_"), _installed_version(distribution)
    return trace.get_tracer(scope, installed, provider, SCHEMA_URL)


@lru_cache(maxsize=16)
def _installed_version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:  # an application packed into one file
        return None


def needed_tracer() -> Tracer | None:
    """Return the tracer for a span below the current span, or None where a call needs no span.

    None without a provider, and below a valid parent that is neither sampled nor recording if the sampler is parent-based:
    a span there would be unsampled too, and its children find the same parent without it. Never raises. Any thread; the
    provider may be set, or replaced, at any time.
    """
    provider, tracer, keeps_parent = _in_force
    # get_tracer_provider() costs 0.6 µs without a provider, more than the whole call: it reads os.environ each time
    if trace._TRACER_PROVIDER is not provider:
        tracer, keeps_parent = _look()
    if keeps_parent:
        parent: Any = get_current().get(SPAN_KEY)
        if parent is not None and (
            parent is _unsampled
            or (not parent.is_recording() and _is_unsampled(parent))
        ):
            return None
    return tracer


def _is_unsampled(parent: Any) -> bool:
    """Whether every span below `parent`, which does not record, is unsampled; remembers the latest such parent."""
    global _unsampled
    context = parent.get_span_context()
    if not context.is_valid or context.trace_flags & 1:
        return False
    if (
        type(parent) is NonRecordingSpan
    ):  # no other kind is sure to stay so, nor small enough to keep
        _unsampled = parent
    return True


def _look() -> tuple[Tracer | None, bool]:
    """Look up the provider; the public getter also loads the provider named by ``OTEL_PYTHON_TRACER_PROVIDER``."""
    global _in_force
    try:
        found = trace.get_tracer_provider()
        provider = trace._TRACER_PROVIDER
        tracer = package_tracer("obs-core", found) if provider is not None else None
        answer = tracer, keeps_unsampled(getattr(tracer, "sampler", None))
    except Exception:  # noqa: BLE001 - a foreign provider may raise anything
        log_failure("looking up the tracer provider")
        provider, answer = trace._TRACER_PROVIDER, (None, False)
    _in_force = (provider, *answer)
    return answer


def forget_answers() -> None:
    """Let each policy ask the samplers again: a known provider's has changed its answer."""
    global _in_force, epoch
    _in_force, epoch = (_NOT_LOOKED, None, False), object()


def keeps_unsampled(sampler: object) -> bool:
    """Whether `sampler` never records below an unsampled parent, by the description, the SDK's only public answer."""
    if getattr(sampler, "is_keeping", False):
        return False
    describe = getattr(sampler, "get_description", None)
    description = describe() if describe else ""
    if description == "AlwaysOffSampler":
        return True
    off = (
        "remoteParentNotSampled:AlwaysOffSampler",
        "localParentNotSampled:AlwaysOffSampler",
    )
    return description.startswith("ParentBased{") and all(
        part in description for part in off
    )
