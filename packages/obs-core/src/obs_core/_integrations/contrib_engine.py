"""Contrib's instrumentation in place of ours: switched on at our call, given a provider that shapes its spans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from weakref import ref

from opentelemetry.util.types import AttributeValue

from obs_core._config.in_force import redactor
from obs_core._integrations.contrib import Contrib
from obs_core._integrations.implementation import Implementation
from obs_core._integrations.install import install_command
from obs_core._integrations.policy import SpanPolicy
from obs_core._integrations.requirements import version_conflicts
from obs_core._integrations.semconv import stable_semconv
from obs_core._integrations.shaping import ShapingTracerProvider
from obs_core._integrations.span_shape import Outcome, SpanShape
from obs_core._safety.redaction import REDACTED
from obs_core.exceptions import (
    AlreadyConfiguredError,
    ConfigurationError,
    MissingDependencyError,
)

Undo = Callable[[], None]
#: The packages of contrib's between a client and the application, for `SpanPolicy`.
_LIBRARY = frozenset({"opentelemetry", "wrapt"})
_MAX_VALUE_BYTES = 4096
_MAX_NAME_BYTES = 255


class ContribEngine:
    """Contrib's instrumentation of a library as the implementation of ``instrument_x``. Called at set-up only.

    Args:
        contribs: Contrib's instrumentor, or several where contrib has one for each way in; the value is the library that
            must be there for it, or None. An instrumentor that an older contrib does not have is left out.
        shape: What the package changes of contrib's spans; size limits and masking by name are added.
        is_ours_active: Whether our own instrumentation traces any target.
        library: The packages between a client and the application: see `SpanPolicy`. None: every call has its span.
    """

    def __init__(
        self,
        contribs: Mapping[Contrib, str | None],
        *,
        shape: SpanShape,
        is_ours_active: Callable[[], bool],
        library: frozenset[str] | None = None,
    ) -> None:
        self._contribs = contribs
        self._contrib = next(iter(contribs))
        self._distribution = "-".join(self._contrib.module.split("."))
        self._is_ours_active = is_ours_active
        self._shape = _with_limits(shape)
        self._library = library

    def install(
        self,
        implementation: Implementation,
        *,
        contrib: Callable[[], Undo],
        ours: Callable[[], Undo],
    ) -> Undo:
        """Install the implementation that was chosen, by `contrib` or by `ours`; return the undo.

        Where contrib traces all of the library already, nothing is installed: see `stand_back`.
        """
        if self.stand_back(implementation):
            return lambda: None
        return contrib() if implementation.is_contrib else ours()

    def provider(
        self,
        options: Any,
        added: Mapping[str, AttributeValue] | None = None,
        outcome: Outcome | None = None,
    ) -> ShapingTracerProvider:
        """Return the provider for contrib: that of the options (default: the global one), its spans shaped.

        Args:
            options: Those of the call: `tracer_provider`, and for the policy `roots` and `include_broker`.
            added: Attributes of every span.
            outcome: In place of the shape's, where it depends on options.
        """
        shape = replace(
            self._shape,
            policy=self._policy(options),
            added=added or {},
            outcome=outcome or self._shape.outcome,
        )
        return ShapingTracerProvider(shape, options.tracer_provider)

    def _policy(self, options: Any) -> SpanPolicy | None:
        """Return what decides which calls get a span."""
        if self._library is None:
            return None
        return SpanPolicy(
            options.tracer_provider,
            roots=options.roots,
            library=self._library | _LIBRARY,
            include_broker=options.include_broker,
        )

    def trace_all(self, implementation: Implementation, **given: object) -> Undo:
        """Switch contrib's instrumentation on; return the undo.

        Args:
            implementation: With the options of the user for contrib.
            given: Ours: ``tracer_provider``, and the like.

        Raises:
            MissingDependencyError: Contrib's package is not installed; the message names the extra.
            AlreadyConfiguredError: It is on already, unshaped, or ours traces some of the library.
            ConfigurationError: It refuses to work, for instance with this version of the library.
        """
        instrumentors = self._instrumentors()
        self._check_free()
        options = {**implementation.contained_options(), **given}
        undo = _Undo(self._contrib)
        for instrumentor in instrumentors:
            try:
                instrumentor.instrument(**options)
            except Exception as error:
                undo()
                raise self._refusal(repr(error)) from error
            if not instrumentor.is_instrumented_by_opentelemetry:
                undo()
                raise self._refusal("it does nothing")
            undo.instrumentors.append(instrumentor)
        self._contrib.covers_all = True
        return undo

    def trace_all_by(
        self,
        implementation: Implementation,
        install: Callable[[Any, dict[str, object]], Undo],
    ) -> Undo:
        """Let `install` put contrib's parts into all of the library, where contrib's instrumentor cannot; return the undo.

        Args:
            implementation: With the options of the user for contrib.
            install: Called with contrib's module and those options; returns the undo.

        Raises:
            Exception: As `trace_all`.
        """
        self._instrumentors()
        self._check_free()
        undo = install(
            import_module(self._contrib.module), implementation.contained_options()
        )
        self._contrib.covers_all = True

        def undo_both() -> None:
            self._contrib.covers_all = False
            undo()

        return undo_both

    def _check_free(self) -> None:
        if self._is_ours_active() or self._contrib.singles:
            raise self._in_the_way("a part of it is instrumented by an earlier call")

    def trace_single(
        self,
        target: Any,
        implementation: Implementation,
        install: Callable[[Any, dict[str, object]], Undo],
    ) -> Undo:
        """Let contrib trace `target` alone; return the undo.

        Args:
            target: What ours knows it by; held weakly.
            implementation: With the options of the user for contrib.
            install: Called with contrib's module and those options; returns the undo, which must not hold the target.

        Raises:
            Exception: As `trace_all`.
        """
        self._instrumentors()
        options = implementation.contained_options()
        if not options.pop("skip_dep_check", False):
            self._check_version()
        undo = install(import_module(self._contrib.module), options)
        self._contrib.trace_single(target)
        return partial(self._undo_single, ref(target), undo)

    def _undo_single(self, target: ref[Any], undo: Undo) -> None:
        self._contrib.release(target())
        undo()

    def stand_back(self, implementation: Implementation) -> bool:
        """Whether contrib traces all of the library at our request, so that a single target cannot have another way.

        Raises:
            AlreadyConfiguredError: It does, and the call named its implementation.
        """
        covers_all = self._contrib.covers_all
        if covers_all:
            what = "contrib's instrumentation traces all of it, by an earlier call"
            implementation.refuse(self._in_the_way(what))
        return covers_all

    def unsupported(self, what: str) -> ConfigurationError:
        """Return the error for something that this version of contrib cannot do."""
        return self._refusal(what)

    def _instrumentors(self) -> list[Any]:
        found = [
            instrumentor
            for contrib, library in self._contribs.items()
            if (instrumentor := self._instrumentor(contrib, library)) is not None
        ]
        stable_semconv()
        return found

    def _instrumentor(self, contrib: Contrib, library: str | None) -> Any:
        if library and find_spec(library) is None:
            return None
        try:
            cls = getattr(import_module(contrib.module), contrib.class_name, None)
        except ImportError as error:
            package = contrib.package
            fix = install_command(f"{package}[contrib]")
            raise MissingDependencyError(
                f"{package} with implementation='contrib' needs {self._distribution}, of the extra {package}[contrib], "
                f"which is not installed: {fix}"
            ) from error
        if cls is not None and contrib.is_active():
            raise self._in_the_way(f"{contrib.class_name} is active, unshaped")
        return cls and cls()

    def _check_version(self) -> None:
        if conflicts := version_conflicts(self._distribution):
            raise self._refusal("; ".join(conflicts))

    def _refusal(self, why: str) -> ConfigurationError:
        conflicts = "; ".join(version_conflicts(self._distribution))
        return ConfigurationError(
            f"implementation='contrib': {self._distribution} cannot instrument this: {conflicts or why}. "
            "Choose implementation='obs', or a version that can"
        )

    def _in_the_way(self, what: str) -> AlreadyConfiguredError:
        return AlreadyConfiguredError(
            f"implementation='contrib' of {self._distribution}: {what}. Uninstrument that first"
        )


class _Undo:
    """Switches contrib's instrumentors off again, once."""

    def __init__(self, contrib: Contrib) -> None:
        self._contrib = contrib
        self.instrumentors: list[Any] = []

    def __call__(self) -> None:
        self._contrib.covers_all = False
        while self.instrumentors:
            instrumentor = self.instrumentors.pop()
            # off already where the user has called contrib's own uninstrument()
            if instrumentor.is_instrumented_by_opentelemetry:
                instrumentor.uninstrument()


def _with_limits(shape: SpanShape) -> SpanShape:
    own = shape.attribute

    def attribute(key: str, value: AttributeValue) -> AttributeValue | None:
        if redactor().is_sensitive(key):
            return REDACTED
        return value if own is None else own(key, value)

    return replace(
        shape,
        attribute=attribute,
        max_value_bytes=_MAX_VALUE_BYTES,
        max_name_bytes=_MAX_NAME_BYTES,
    )
