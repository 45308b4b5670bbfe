"""Tracing for Python services on OpenTelemetry: bootstrap, decorators, correlation ids.

The import loads no SDK and no exporter: `setup_tracing` loads the SDK, and `obs_core._export.exporters` the one exporter.
"""

from obs_core._config.config import TracingConfig
from obs_core._config.correlation import CorrelationConfig
from obs_core._config.keep import Keep
from obs_core._correlation.ids import correlation_scope, get_correlation_id
from obs_core._correlation.logs import TraceContextFilter
from obs_core._decorators.trace_function import trace_function
from obs_core._llm.trace_llm import trace_llm
from obs_core._setup.manager import TracingManager
from obs_core._setup.setup import setup_tracing
from obs_core._spans.attributes import add_span_attributes
from obs_core._spans.kept import keep_trace

__all__ = [
    "CorrelationConfig",
    "Keep",
    "TraceContextFilter",
    "TracingConfig",
    "TracingManager",
    "add_span_attributes",
    "correlation_scope",
    "get_correlation_id",
    "keep_trace",
    "setup_tracing",
    "trace_function",
    "trace_llm",
]
