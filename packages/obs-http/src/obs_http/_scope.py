"""The instrumentation scope of this package's spans and metrics."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("obs-http")
