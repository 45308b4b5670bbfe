"""The decorators: obs-core's."""

from obs_core import add_span_attributes, trace_function

__all__ = ["add_span_attributes", "trace_function"]
