"""The warning about gRPC and forks: a setting of the environment with which forked children cannot export."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obs_core._config.settings import Settings


def fork_hazard(settings: Settings) -> str | None:
    """Return why forked children of this process cannot export, or None if they can."""
    if settings.exporter != "otlp" or settings.endpoint.protocol != "grpc":
        return None
    value = os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "1")
    if value.lower() in ("1", "true", "yes", "on", "t", "y"):
        return None
    return (
        f"GRPC_ENABLE_FORK_SUPPORT={value} leaves forked children unable to use gRPC, so they cannot export: "
        "unset it, or use collector_protocol='http'"
    )
