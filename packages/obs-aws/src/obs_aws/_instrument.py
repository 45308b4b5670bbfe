"""`instrument_boto3` and `uninstrument_boto3`."""

from __future__ import annotations

from collections.abc import Iterable

from obs_core.exceptions import ConfigurationError
from obs_core.integration import (
    InstrumentationHandle,
    instrument_once,
    require,
    uninstrument,
    warn_unsupported_version,
)
from opentelemetry import trace

from obs_aws._options import EXPECTED_ERRORS, Options, Propagator, RequestHook, ResponseHook, Roots
from obs_aws._patches import install
from obs_aws._state import Clients

_NAME = "boto3"


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
        lambda: install(Clients(options), loader),
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
