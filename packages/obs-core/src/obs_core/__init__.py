"""Tracing for Python services on OpenTelemetry: bootstrap, decorators, correlation ids."""

from obs_core._config import CorrelationConfig, TracingConfig
from obs_core._correlation import correlation_scope, get_correlation_id
from obs_core._decorator import trace_function
from obs_core._llm import trace_llm
from obs_core._logs import TraceContextFilter
from obs_core._manager import TracingManager
from obs_core._setup import setup_tracing
from obs_core._span_attributes import add_span_attributes

__all__ = [
    "CorrelationConfig",
    "TraceContextFilter",
    "TracingConfig",
    "TracingManager",
    "add_span_attributes",
    "correlation_scope",
    "get_correlation_id",
    "setup_tracing",
    "trace_function",
    "trace_llm",
]
