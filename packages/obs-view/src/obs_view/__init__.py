"""See your traces with no backend: an OTLP receiver with a terminal tree, for development. Production goes to a collector."""

from obs_view._database import DatabaseError
from obs_view._model import Event, Link, Span
from obs_view._receiver import PortInUseError, Receiver
from obs_view._render import render_trace, trace_text
from obs_view._trace import Trace

__all__ = [
    "DatabaseError",
    "Event",
    "Link",
    "PortInUseError",
    "Receiver",
    "Span",
    "Trace",
    "render_trace",
    "trace_text",
]
