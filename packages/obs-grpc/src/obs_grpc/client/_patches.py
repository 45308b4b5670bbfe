"""The functions of ``grpc`` and ``grpc.aio`` that create channels, replaced."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import grpc.aio
from obs_core.integration import Contrib, Patches, call_contained
from opentelemetry.trace import SpanKind

from obs_grpc._options import Options
from obs_grpc._state import Instrumentation
from obs_grpc.client._state import CONTRIB, CONTRIB_AIO, wrap_channel

_FACTORIES = (
    (grpc, "insecure_channel", CONTRIB),
    (grpc, "secure_channel", CONTRIB),
    (grpc.aio, "insecure_channel", CONTRIB_AIO),
    (grpc.aio, "secure_channel", CONTRIB_AIO),
)


def patch_channels(options: Options) -> Callable[[], None]:
    """Trace every channel that is created from now on; return the undo."""
    instrumentation, patches = Instrumentation(SpanKind.CLIENT, options), Patches()
    for module, name, contrib in _FACTORIES:
        if not contrib.takes_over():
            patches.wrap(module, name, partial(_create, instrumentation, contrib))

    def undo() -> None:
        instrumentation.switch_off()
        patches.undo()

    return undo


def _create(
    instrumentation: Instrumentation,
    contrib: Contrib,
    original: Callable[..., Any],
    *args: Any,
    **kwargs: Any,
) -> Any:
    channel = original(*args, **kwargs)
    # asked again: contrib's may have been switched on since
    if contrib.takes_over():
        return channel
    target = args[0] if args else kwargs.get("target")
    action = "instrumenting a gRPC channel"
    return call_contained(action, wrap_channel, channel, instrumentation, target) or channel
