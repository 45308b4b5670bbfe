"""Test your tracing: a `spans` fixture (in memory) and an `OtlpSink` (a real receiver, for other processes).

The pytest plugin is loaded automatically where obs-core is installed.
"""

from obs_core.testing._received import SinkLog, SinkPoint, SinkSpan
from obs_core.testing._sink import OtlpSink
from obs_core.testing._spans import SpanRecorder, record_spans
from obs_core.testing._tree import TreeSpan, render_tree
from obs_core.testing._wait import wait_until

__all__ = [
    "OtlpSink",
    "SinkLog",
    "SinkPoint",
    "SinkSpan",
    "SpanRecorder",
    "TreeSpan",
    "record_spans",
    "render_tree",
    "wait_until",
]
