"""The state of an instrumentation: options, tracer, traced methods, and whether it is still in place."""

from __future__ import annotations

import gc
from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple
from weakref import WeakSet

from grpc import StatusCode
from obs_core.integration import (
    Contrib,
    InstrumentationHandle,
    log_failure,
    package_tracer,
)
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind

from obs_grpc._attributes import Attributes
from obs_grpc._options import Options
from obs_grpc._outcome import CLIENT_ERRORS, SERVER_ERRORS
from obs_grpc._semconv import Names

_MAX_METHODS = 1024  # on a server, the names are sent by the clients

CONTRIB = {
    (kind, is_aio): Contrib(
        f"opentelemetry.instrumentation.grpc:Grpc{'Aio' * is_aio}Instrumentor{kind.name.title()}",
        package="obs-grpc",
    )
    for kind in (SpanKind.CLIENT, SpanKind.SERVER)
    for is_aio in (False, True)
}


#: The live instrumentations, of one channel or server or of all.
_made: WeakSet[Instrumentation] = WeakSet()


def active(kind: SpanKind) -> bool:
    """Whether ours traces any channel, or any server. For set-up only: collects those that nobody has any more."""
    if not any(each.active and each.kind is kind for each in list(_made)):
        return False
    gc.collect()  # an instrumentation's cache holds the instrumentation
    return any(each.active and each.kind is kind for each in list(_made))


class Method(NamedTuple):
    """A traced method: the name of the spans (``package.Service/Method``) and their start attributes."""

    name: str
    attributes: Attributes


class Instrumentation:
    """The instrumentation of a channel, of a server, or of all channels or servers. Thread-safe.

    Attributes:
        active: False once uninstrumented: channels and servers then behave as if never instrumented.
        errors: The status codes that are errors on this side.
        method: Returns the `Method` of a full method name; None: the method is excluded.
    """

    __slots__ = (
        "__weakref__",
        "_tracer",
        "active",
        "errors",
        "kind",
        "method",
        "names",
        "options",
    )

    def __init__(self, kind: SpanKind, options: Options) -> None:
        self.active = True
        _made.add(self)
        self.kind = kind
        self.options = options
        self.names = Names()
        self.errors: Collection[StatusCode] = CLIENT_ERRORS
        if kind is SpanKind.SERVER:
            self.errors = SERVER_ERRORS
        self.method = lru_cache(maxsize=_MAX_METHODS)(self._method)
        self._tracer = package_tracer("obs-grpc", options.tracer_provider)

    def _method(self, full_method: str) -> Method | None:
        if self.options.excludes(full_method):
            return None
        name = full_method.lstrip("/")
        return Method(name, self.names.rpc(name))

    def start_span(self, method: Method, parent: Context) -> Span:
        """Start the span of an RPC below `parent`; a failure of a sampler or span processor is logged."""
        try:
            return self._tracer.start_span(
                method.name, parent, self.kind, method.attributes
            )
        except Exception:  # noqa: BLE001 - samplers and span processors are the user's
            log_failure("starting a gRPC span")
            return INVALID_SPAN

    def contrib_takes_over(self, is_aio: bool) -> bool:
        """Whether contrib's instrumentation of this side is active and makes the spans; warns once."""
        return CONTRIB[self.kind, is_aio].takes_over()

    def check_options(self, name: str, options: Options) -> None:
        """Raise `AlreadyConfiguredError` if `options` contradict those of this instrumentation, called `name`."""
        present = InstrumentationHandle(name, self.switch_off, self.options.by_name())
        present.check_options(options.by_name(), Options().by_name())

    def switch_off(self) -> None:
        """Trace no further RPC."""
        self.active = False
