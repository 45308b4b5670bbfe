"""The parts that integrations (``obs-yours``) are built on: public, documented, and versioned.

- Handles: `instrument_once`, `uninstrument`, `Targets`, `Patches`, `Contrib`, `ContribEngine`,
  `choose_implementation`, `otel_instrumentor`, `require`, `install_command`.
- Spans: `SpanPolicy`, `package_tracer`, `record_error`, `fail`, `FormerNames`, `use_span_id`, `SpanShape`,
  `keeping`, `kept_reason`, `kept_tracestate`, `note_kept`, `hold_request`, `native_call`, `NATIVE_TRACERS`.
- Context: `attach`, `detach`, `get_current`, `current_span`, `span_of`, `context_with`, `unsampled_context`.
- Propagation: `outgoing_context`, `suppress_all`, `suppress_http`, `attach_correlation`, `correlation_headers`.
- Containment: `call_contained`, `warn_once`, `redactor`, `truncate`, `flush_within`.
- Options: `check_choice`, `check_names`, `check_number`, `check_callable`, `check_plain_function`,
  `option_error`, `Globs`.

See ``docs/writing-an-integration.md``.
"""

from obs_core._config.in_force import redactor
from obs_core._correlation.ids import (
    attach_correlation,
    correlation_headers,
    is_valid_correlation_id,
    outgoing_context,
)
from obs_core._integrations.contrib import (
    Contrib,
    contrib_is_active,
    warn_if_contrib_is_active,
)
from obs_core._integrations.contrib_engine import ContribEngine
from obs_core._integrations.globs import Globs
from obs_core._integrations.implementation import (
    Implementation,
    ImplementationName,
    choose_implementation,
)
from obs_core._integrations.install import install_command
from obs_core._integrations.native import (
    NATIVE_TRACERS,
    NativeTracer,
    native_call,
)
from obs_core._integrations.options import (
    check_callable,
    check_choice,
    check_names,
    check_number,
    check_plain_function,
    option_error,
)
from obs_core._integrations.otel import OtelInstrumentor, otel_instrumentor
from obs_core._integrations.patches import Patches
from obs_core._integrations.policy import (
    Roots,
    SpanPolicy,
    is_suppressed,
    suppress_all,
    suppress_http,
)
from obs_core._integrations.registry import (
    InstrumentationHandle,
    active_instrumentations,
    instrument_once,
    uninstrument,
)
from obs_core._integrations.requirements import (
    require,
    version_conflicts,
    warn_unsupported_version,
)
from obs_core._integrations.semconv import (
    NO_FORMER_NAMES,
    FormerNames,
    semconv_opt_in,
    stable_semconv,
)
from obs_core._integrations.shaping import ShapingTracerProvider
from obs_core._integrations.span_shape import SpanShape
from obs_core._integrations.targets import Targets
from obs_core._integrations.worker_process import is_worker_process, mark_worker_process
from obs_core._provider.early import unsampled_context
from obs_core._safety.containment import call_contained, log_failure, warn_once
from obs_core._safety.redaction import REDACTED, Redactor
from obs_core._safety.text import truncate
from obs_core._setup.flush_within import flush_within
from obs_core._setup.manager import current_manager
from obs_core._spans.current import span_of
from obs_core._spans.errors import error_message, error_type, fail, record_error
from obs_core._spans.ids import draw_span_id, span_ids_can_be_set, use_span_id
from obs_core._spans.in_context import context_with, current_span
from obs_core._spans.kept import (
    KEPT_HEADER,
    hold_request,
    keeping,
    kept_reason,
    kept_tracestate,
    note_kept,
)
from obs_core._spans.propagation import extract, inject
from obs_core._spans.runtime_context import attach, detach, get_current
from obs_core._spans.tracer import package_tracer

__all__ = [
    "Contrib",
    "ContribEngine",
    "FormerNames",
    "Globs",
    "Implementation",
    "ImplementationName",
    "InstrumentationHandle",
    "KEPT_HEADER",
    "NATIVE_TRACERS",
    "NO_FORMER_NAMES",
    "NativeTracer",
    "OtelInstrumentor",
    "Patches",
    "REDACTED",
    "Redactor",
    "Roots",
    "ShapingTracerProvider",
    "SpanPolicy",
    "SpanShape",
    "Targets",
    "active_instrumentations",
    "attach",
    "attach_correlation",
    "call_contained",
    "check_callable",
    "check_choice",
    "check_names",
    "check_number",
    "check_plain_function",
    "choose_implementation",
    "context_with",
    "contrib_is_active",
    "correlation_headers",
    "current_manager",
    "current_span",
    "detach",
    "draw_span_id",
    "error_message",
    "error_type",
    "extract",
    "fail",
    "flush_within",
    "get_current",
    "hold_request",
    "inject",
    "install_command",
    "instrument_once",
    "is_suppressed",
    "is_valid_correlation_id",
    "is_worker_process",
    "keeping",
    "kept_reason",
    "kept_tracestate",
    "log_failure",
    "mark_worker_process",
    "native_call",
    "note_kept",
    "option_error",
    "otel_instrumentor",
    "outgoing_context",
    "package_tracer",
    "record_error",
    "redactor",
    "require",
    "semconv_opt_in",
    "span_ids_can_be_set",
    "span_of",
    "stable_semconv",
    "suppress_all",
    "suppress_http",
    "truncate",
    "uninstrument",
    "unsampled_context",
    "use_span_id",
    "version_conflicts",
    "warn_if_contrib_is_active",
    "warn_once",
    "warn_unsupported_version",
]
