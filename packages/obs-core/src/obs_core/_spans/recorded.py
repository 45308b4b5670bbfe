"""The span of an unsampled request that may be kept; held by the request's recording (`obs_core._export.recording`)."""

from __future__ import annotations

from obs_core._spans.kept import Recording
from obs_core._spans.light import LightSpan


class RecordedSpan(LightSpan):
    """A span that records and is not sampled."""

    __slots__ = ("_process", "_recording")

    _recording: Recording
    _process: object
