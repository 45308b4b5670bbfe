"""Channels whose calls are traced, on the public classes ``grpc.Channel`` and ``grpc.aio.Channel``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from obs_core.integration import call_contained

from obs_grpc._attributes import server_address
from obs_grpc._rpc import Codec
from obs_grpc._state import Instrumentation, Method
from obs_grpc.client._call import RemoteMethod, Watch


class TracedMultiCallable:
    """A multi-callable that traces the calls of grpc's; other attributes are those of grpc's multi-callable."""

    _obs_watch: Watch

    def __init__(self, remote: RemoteMethod) -> None:
        self._obs_remote = remote

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._obs_remote.begin_call("__call__", args, kwargs, self._obs_watch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._obs_remote.plain, name)


def multi_callable(
    base: Any, watch: Watch, ours: type[TracedMultiCallable] = TracedMultiCallable
) -> type[Any]:
    """Return the class of a shape's multi-callables, of grpc's abstract class `base`; `watch` as for `begin_call`."""
    return type(base.__name__, (ours, base), {"_obs_watch": staticmethod(watch)})


def _shape(shape: str) -> Callable[..., Any]:
    """Return the channel method `shape`, for instance ``unary_stream``, which makes traced multi-callables."""
    requests, _, responses = shape.partition("_")
    streams = (requests == "stream", responses == "stream")

    # the signature is grpc's; the arguments after the codecs differ between versions
    def method_of_shape(
        self: TracedChannel,
        method: str,
        request_serializer: Codec | None = None,
        response_deserializer: Codec | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Return grpc's multi-callable for `method`, traced unless the method is excluded."""
        make = partial(self._obs_make, shape, method)
        codecs = (request_serializer, response_deserializer)
        known = self._obs_method(method)
        if known is None:
            return make(*codecs, *args, **kwargs)
        remote = RemoteMethod(
            self._obs_instrumentation, known, make, codecs, streams, args, kwargs
        )
        return self._obs_multi_callables[shape](remote)

    method_of_shape.__name__ = shape
    return method_of_shape


class TracedChannel:
    """The common part of traced sync and aio channels; other attributes are those of the channel behind.

    Args:
        channel: The channel behind, which can still be used, untraced.
        instrumentation: The options and tracer.
        target: The address of the server, for ``server.address`` and ``server.port``. Default: asked from the channel.
    """

    _obs_multi_callables: ClassVar[Mapping[str, type[Any]]]

    def __init__(
        self, channel: Any, instrumentation: Instrumentation, target: str | None = None
    ) -> None:
        self._obs_channel = channel
        self._obs_instrumentation = instrumentation
        target = target or call_contained(
            "asking a channel's target", target_of, channel
        )
        self._obs_server = server_address(target or "")

    unary_unary = _shape("unary_unary")
    unary_stream = _shape("unary_stream")
    stream_unary = _shape("stream_unary")
    stream_stream = _shape("stream_stream")

    def _obs_make(self, shape: str, *args: Any, **kwargs: Any) -> Any:
        # a method, so that a stub keeps this channel alive and uninstrumenting still finds the channel
        return getattr(self._obs_channel, shape)(*args, **kwargs)

    def _obs_method(self, method: str) -> Method | None:
        """Return the method with its start attributes, or None if the method is excluded."""
        known = self._obs_instrumentation.method(method)
        if known is None:
            return None
        return known._replace(attributes={**known.attributes, **self._obs_server})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._obs_channel, name)


def target_of(channel: Any) -> str | None:
    """Return the target of `channel` from private attributes, or None: grpc has no public way.

    https://github.com/grpc/grpc/issues/38519
    """
    inner = getattr(channel, "_channel", None)
    if inner is None:
        return None
    target = getattr(inner, "target", None)
    if target is None:
        return target_of(inner)
    if callable(target):
        target = target()
    return target.decode()  # type: ignore[no-any-return]
