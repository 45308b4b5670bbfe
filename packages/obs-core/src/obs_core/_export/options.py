"""The settings of the export: of queue and batches, and of the spool."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """The settings of a `BatchExportProcessor`; the fields are those of `TracingConfig`."""

    max_queue_size: int = 2048
    max_export_batch_size: int = 512
    schedule_delay_s: float = 5.0
    exit_timeout_s: float = 2.0
    backend: str = "none"


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """The settings of a `Spool`; the fields are those of `TracingConfig`, without ``spool_``."""

    dir: Path
    max_bytes: int = 64 << 20
    max_age_s: float = 86_400.0
