"""The traced channels, each found by the plain channel behind."""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakValueDictionary

import grpc
import grpc.aio
from obs_core.integration import instrument_once, option_error, uninstrument
from opentelemetry.trace import SpanKind

from obs_grpc._options import Options
from obs_grpc._state import Instrumentation
from obs_grpc.client import _aio, _sync
from obs_grpc.client._channel import TracedChannel

NAME = "grpc_client"
_lock = threading.RLock()
# a traced channel keeps the plain channel alive, so the id is not reused as long as the entry lives
_channels: WeakValueDictionary[int, TracedChannel] = WeakValueDictionary()


def traced_channel(channel: Any, options: Options) -> Any:
    """Return the traced channel in front of `channel`, which may be a traced channel already.

    Raises:
        ConfigurationError: `channel` is not a channel.
        AlreadyConfiguredError: The channel is traced already, with other options.
    """
    plain, traced = _both(channel)
    if not isinstance(plain, grpc.Channel | grpc.aio.Channel):
        raise option_error(
            "channel", channel, "give a grpc.Channel or grpc.aio.Channel, or None"
        )
    with _lock:
        if traced is not None and traced._obs_instrumentation.active:
            traced._obs_instrumentation.check_options(NAME, options)
            return traced
        instrumentation = Instrumentation(SpanKind.CLIENT, options)
        if instrumentation.contrib_takes_over(isinstance(plain, grpc.aio.Channel)):
            return channel
        traced = _channels[id(plain)] = wrap_channel(plain, instrumentation)
        instrument_once(NAME, lambda: instrumentation.switch_off, target=traced)
        return traced


def plain_channel(channel: Any) -> Any:
    """Return the plain channel behind `channel`; a channel that was instrumented alone is no longer traced."""
    plain, traced = _both(channel)
    if traced is not None:
        uninstrument(NAME, target=traced)
    return plain


def _both(channel: Any) -> tuple[Any, TracedChannel | None]:
    """Return the plain and the traced channel for either of the two."""
    if isinstance(channel, TracedChannel):
        return channel._obs_channel, channel
    return channel, _channels.get(id(channel))


def wrap_channel(
    channel: Any, instrumentation: Instrumentation, target: str | None = None
) -> TracedChannel:
    """Return a traced channel in front of `channel`."""
    if isinstance(channel, grpc.aio.Channel):
        return _aio.Channel(channel, instrumentation, target)
    return _sync.Channel(channel, instrumentation, target)
