"""How spans are gathered for export, and kept until then."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obs_core._export.spool.spool import Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """The settings of one `ExportWorker`; the fields are those of `TracingConfig`."""

    max_queue_size: int = 2048
    max_export_batch_size: int = 512
    schedule_delay_s: float = 5.0
    exit_timeout_s: float = 2.0
    spool_dir: Path | None = None
    spool_max_bytes: int = 64 << 20
    spool_max_age_s: float = 86_400.0

    def open_spool(self) -> Spool | None:
        """Return a spool of this process's own, or None where none is asked for."""
        if self.spool_dir is None:
            return None
        from obs_core._export.spool.spool import Spool

        return Spool(self.spool_dir, self.spool_max_bytes, self.spool_max_age_s)
