"""The directory of the spool: count files and bytes, delete old files."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from os import scandir
from pathlib import Path

from obs_core._safety.containment import warn_once

#: How the names of a directory's segments end; and of one that its process is just beginning.
SUFFIX, HIDDEN_SUFFIX = ".spans", ".new"


class SpoolDirectory:
    """A directory that processes share; made if missing, for this user alone.

    Args:
        path: The directory.
        max_bytes: About how much all processes together may keep in the directory.
        max_age_s: The age of a file, in seconds, at which the file is deleted.
    """

    def __init__(self, path: Path, max_bytes: int, max_age_s: float) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._added = 0
        self._full_at = max_bytes

    @property
    def is_full(self) -> bool:
        """Whether the bytes are used up, as far as this process knows."""
        return self._added >= self._full_at

    def note_added(self, size: int) -> None:
        """Count bytes that this process has written."""
        self._added += size

    def files(self) -> list[Path]:
        """Return the segments of all processes, the oldest first."""
        return sorted(self.path.glob(f"*{SUFFIX}"))

    def survey(self) -> None:
        """Count the bytes of all processes, and delete files that are too old.

        Raises:
            OSError: The directory cannot be read or made.
        """
        # read before the files: what is written meanwhile counts twice until the next survey, rather than never
        added = self._added
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with scandir(self.path) as entries:
            used = sum(map(self._size_after_cleaning, list(entries)))
        self._full_at = added + self._max_bytes - used
        if used >= self._max_bytes:
            self._warn(
                "size",
                f"{used} bytes are there, {self._max_bytes} are allowed: "
                "no span is added until some are exported",
            )

    def _size_after_cleaning(self, entry: os.DirEntry[str]) -> int:
        with suppress(FileNotFoundError):  # another process was faster
            found = entry.stat()
            is_ours = entry.name.endswith((SUFFIX, HIDDEN_SUFFIX))
            if not is_ours or found.st_mtime >= time.time() - self._max_age_s:
                return found.st_size
            Path(entry.path).unlink()
            self._warn(
                "age", f"spans of more than {self._max_age_s:.0f} s ago are deleted"
            )
        return 0

    def _warn(self, what: str, message: str) -> None:
        warn_once(f"{what} of {self.path}", f"spool {self.path}: {message}")
