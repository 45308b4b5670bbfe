"""Put the tracing around every client call, and take it away again.

``_make_api_call`` is the one place that every call of every client passes through, with its outcome whatever that is. Events
would be the public way, but a client copies its session's handlers when it is made, so clients that exist cannot be reached;
and no event follows a call that is cancelled or fails validation, so what one event entered another might never leave.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from importlib.util import find_spec
from typing import Any
from weakref import WeakKeyDictionary

from obs_core.exceptions import ConfigurationError
from obs_core.integration import (
    InstrumentationHandle,
    call_contained,
    instrument_once,
    require,
    uninstrument,
    warn_unsupported_version,
)
from opentelemetry import trace

from obs_aws._calls import Call
from obs_aws._options import EXPECTED_ERRORS, Options, Propagator, RequestHook, ResponseHook, Roots
from obs_aws._tracing import Tracing, contrib_traces_too

_NAME = "boto3"
_SEAM = "_make_api_call"
ApiCall = Callable[[Any, str, Mapping[str, Any]], Any]


def instrument_boto3(
    session: object | None = None,
    *,
    tracer_provider: trace.TracerProvider | None = None,
    propagator: Propagator = "w3c",
    expected_errors: Iterable[str] = EXPECTED_ERRORS,
    roots: Roots = "auto",
    empty_polls: bool = False,
    s3_keys: bool = False,
    error_messages: bool = False,
    gen_ai_content: bool = False,
    kinesis_context: bool = False,
    request_hook: RequestHook | None = None,
    response_hook: ResponseHook | None = None,
) -> InstrumentationHandle:
    """Trace the calls of boto3, botocore, aioboto3 and aiobotocore clients and resources, present and future.

    Args:
        session: Trace the clients of this session alone; None: of every session. Of two that apply, the session's counts.
        tracer_provider: Where spans go; None: the global provider, also when it is set later.
        propagator: ``"w3c"``: the context travels in message attributes by the global propagator (W3C unless you changed
            it). ``"xray"``: as ``AWSTraceHeader`` of SQS messages and as header ``X-Amzn-Trace-Id`` of every request.
        expected_errors: Globs ``Service.Operation:ErrorCode`` of answers that are no errors; they replace `EXPECTED_ERRORS`.
        roots: Whether a call outside any span starts a trace. "auto": yes, but not in a queue worker's own process.
        empty_polls: Make a span also of an SQS poll that brings no message.
        s3_keys: Record ``aws.s3.key``.
        error_messages: Record AWS's message as the status description, scrubbed of credentials. Off, because AWS quotes
            item values and keys in its messages; the error code is always recorded.
        gen_ai_content: Record Bedrock's messages, at most 8 KiB each way.
        kinesis_context: Add the context to Kinesis records whose data is a JSON object; it has no other place for it.
        request_hook: Called with (span, service, operation, parameters) of each recorded call, before it.
        response_hook: Called with (span, service, operation, response) after it; after a failure with AWS's error response.

    Returns:
        The handle that takes it back; asking again with the same options returns the same one.

    Raises:
        MissingDependencyError: botocore is not installed.
        ConfigurationError: An option has no meaning.
        AlreadyConfiguredError: The session, or all of them, is instrumented already, with other options.

    Thread-safe; call it before or after fork. A hook that raises is logged and never reaches the application.
    """
    require("botocore", package="obs-aws")
    options = Options(
        propagator=propagator, expected_errors=tuple(expected_errors), roots=roots, empty_polls=empty_polls, s3_keys=s3_keys,
        error_messages=error_messages, gen_ai_content=gen_ai_content, kinesis_context=kinesis_context,
        request_hook=request_hook, response_hook=response_hook, tracer_provider=tracer_provider,
    )  # fmt: skip
    loader = None if session is None else _loader(session)
    warn_unsupported_version("obs-aws", "botocore")
    return instrument_once(
        _NAME,
        lambda: _install(Tracing(options), loader),
        target=session,
        options=options.by_name(),
        defaults=Options().by_name(),
    )


def uninstrument_boto3(session: object | None = None) -> None:
    """Undo `instrument_boto3` of the same `session`; nothing to undo is not an error."""
    uninstrument(_NAME, target=session)


def _loader(session: object) -> object:
    """Return what a session and its clients have in common, for boto3's, aioboto3's, botocore's and aiobotocore's."""
    get_component = getattr(getattr(session, "_session", session), "get_component", None)
    if get_component is None:
        raise ConfigurationError(
            f"{session!r} is no session; pass a boto3, aioboto3, botocore or aiobotocore session, or None"
        )
    loader: object = get_component("data_loader")
    return loader


class _Installed:
    """Which tracing is in force for which clients, and the seam, patched while there is any."""

    def __init__(self) -> None:
        self._everywhere: Tracing | None = None
        self._by_loader: WeakKeyDictionary[object, Tracing] = WeakKeyDictionary()
        self._unpatch: dict[type, Callable[[], bool]] = {}
        self._lock = threading.Lock()

    def begin(self, client: Any, operation: str, params: Mapping[str, Any]) -> Call | None:
        """Return the call, begun; None where it is not traced, or where tracing it failed."""
        return call_contained("tracing an AWS call", self._begin, client, operation, params)

    def _begin(self, client: Any, operation: str, params: Mapping[str, Any]) -> Call | None:
        tracing = (
            self._by_loader.get(client._loader, self._everywhere)
            if self._by_loader
            else self._everywhere
        )
        return tracing.begin(client, operation, params) if tracing else None

    def add(self, loader: object | None, tracing: Tracing) -> None:
        with self._lock:
            for cls, traced in _seams():
                if cls not in self._unpatch:
                    self._unpatch[cls] = _patch(cls, traced)
            if loader is None:
                self._everywhere = tracing
            else:
                self._by_loader[loader] = tracing

    def remove(self, loader: object | None, tracing: Tracing) -> None:
        with self._lock:
            tracing.forget_clients()
            if loader is None:
                self._everywhere = None
            else:
                self._by_loader.pop(loader, None)
            if self._everywhere is None and not self._by_loader:
                self._unpatch = {
                    cls: unpatch for cls, unpatch in self._unpatch.items() if not unpatch()
                }


_installed = _Installed()


def _install(tracing: Tracing, loader: object | None) -> Callable[[], None]:
    if contrib_traces_too():
        return lambda: None
    _installed.add(loader, tracing)
    return lambda: _installed.remove(loader, tracing)


def _seams() -> list[tuple[type, Callable[[ApiCall], ApiCall]]]:
    from botocore.client import BaseClient

    seams: list[tuple[type, Callable[[ApiCall], ApiCall]]] = [(BaseClient, _traced)]
    if find_spec("aiobotocore") is not None:
        aio = call_contained("importing aiobotocore", _aio_client)
        seams += [(aio, _aio_traced)] if aio else []
    return seams


def _aio_client() -> type:
    from aiobotocore.client import AioBaseClient

    cls: type = AioBaseClient
    return cls


def _patch(cls: type, traced: Callable[[ApiCall], ApiCall]) -> Callable[[], bool]:
    original: ApiCall = cls.__dict__[_SEAM]
    ours = traced(original)
    setattr(cls, _SEAM, ours)

    def unpatch() -> bool:
        """Restore the original; False where someone has wrapped ours meanwhile, so that it stays, passing calls through."""
        if cls.__dict__[_SEAM] is not ours:
            return False
        setattr(cls, _SEAM, original)
        return True

    return unpatch


def _traced(original: ApiCall) -> ApiCall:
    @wraps(original)
    def make_api_call(client: Any, operation_name: str, api_params: Mapping[str, Any]) -> Any:
        call = _installed.begin(client, operation_name, api_params)
        if call is None:
            return original(client, operation_name, api_params)
        with call:
            return call.answer(original(client, operation_name, call.params))

    return make_api_call


def _aio_traced(original: ApiCall) -> ApiCall:
    @wraps(original)
    async def make_api_call(client: Any, operation_name: str, api_params: Mapping[str, Any]) -> Any:
        call = _installed.begin(client, operation_name, api_params)
        if call is None:
            return await original(client, operation_name, api_params)
        with call:
            return call.answer(await original(client, operation_name, call.params))

    return make_api_call
