"""`instrument_boto3` and `uninstrument_boto3`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from obs_core.integration import (
    ImplementationName,
    InstrumentationHandle,
    Roots,
    choose_implementation,
    instrument_once,
    option_error,
    require,
    uninstrument,
    warn_unsupported_version,
)
from opentelemetry.trace import TracerProvider

from obs_aws import _contrib
from obs_aws._options import DEFAULT_EXPECTED, EndHook, Options, Propagator, StartHook
from obs_aws._patches import install
from obs_aws._state import Clients

_NAME = "boto3"


def instrument_boto3(
    session: object | None = None,
    *,
    tracer_provider: TracerProvider | None = None,
    propagator: Propagator = "w3c",
    expected: Collection[str] = DEFAULT_EXPECTED,
    roots: Roots = "auto",
    include_broker: bool = False,
    include_empty_polls: bool = False,
    capture_s3_keys: bool = False,
    capture_error_messages: bool = False,
    capture_gen_ai_content: bool = False,
    kinesis_context: bool = False,
    on_start: StartHook | None = None,
    on_end: EndHook | None = None,
    implementation: ImplementationName | None = None,
    contrib_options: Mapping[str, object] | None = None,
) -> InstrumentationHandle:
    """Trace the calls of boto3, botocore, aioboto3 and aiobotocore clients and resources, present and future.

    Args:
        session: Trace the clients of this session only; its options take precedence over those for all sessions. Default:
            every session.
        tracer_provider: The provider of the spans. Default: the global provider, also if set later.
        propagator: ``"w3c"``: the context travels in message attributes, in the format of the global propagator (W3C unless
            you changed it). ``"xray"``: as ``AWSTraceHeader`` of SQS messages and ``X-Amzn-Trace-Id`` of every request.
            An object of a class of ``TextMapPropagator``: as ``"w3c"``, and the object writes headers of every request.
        expected: Globs ``Service.Operation:ErrorCode`` of error responses that are no errors. Default: `DEFAULT_EXPECTED`,
            which your globs replace.
        roots: Whether a call outside any span starts a trace. ``"auto"``: yes, except in a queue worker's main process.
        include_broker: Record what Celery itself asks within a request, of SQS as its broker, or of S3 or DynamoDB as its
            result backend. Default False: the spans of the tasks say it. Outside any span it is never recorded.
        include_empty_polls: Record SQS polls that return no message.
        capture_s3_keys: Record ``aws.s3.key``.
        capture_error_messages: Record AWS's error message as the status description, scrubbed of credentials. Default False,
            as AWS quotes item values and keys in error messages; the error code is always recorded.
        capture_gen_ai_content: Record the input and the output messages of Bedrock, at most 8 KiB each.
        kinesis_context: Add the context to Kinesis records that are JSON objects: a record has no other place for a context.
        on_start: Called with (span, service, operation, parameters) before each recorded call.
        on_end: Called with (span, service, operation, response) after each recorded call; after a failure, with AWS's error
            response.
        implementation: ``"obs"``, or ``"contrib"``: OpenTelemetry's own instrumentation, of the extra ``obs-aws[contrib]``,
            makes the spans of all sessions, with our limits around them; it honours `expected`, `roots`, `include_broker`,
            `capture_error_messages` and `tracer_provider`, and other options are refused. Default: what
            ``OBS_IMPLEMENTATION`` says, or ``"obs"``.
        contrib_options: Options and hooks of contrib's own instrumentor, for instance ``request_hook``.

    Returns:
        The handle to undo it; a second call with the same options returns the same handle.

    Raises:
        MissingDependencyError: botocore, or for ``"contrib"`` its package, is not installed.
        ConfigurationError: `session` is not a session, or an option has a value of the wrong kind.
        AlreadyConfiguredError: The session, or every session, is instrumented already, with other options.

    Thread-safe; may be called before or after a fork. An exception of a hook is logged and never reaches the application.
    """
    require("botocore", package="obs-aws")
    options = Options(
        tracer_provider=tracer_provider,
        propagator=propagator,
        expected=expected,
        roots=roots,
        include_broker=include_broker,
        include_empty_polls=include_empty_polls,
        capture_s3_keys=capture_s3_keys,
        capture_error_messages=capture_error_messages,
        capture_gen_ai_content=capture_gen_ai_content,
        kinesis_context=kinesis_context,
        on_start=on_start,
        on_end=on_end,
        implementation=choose_implementation(_NAME, implementation, contrib_options),
    )
    options.check_implementation()
    loader = None if session is None else _loader(session)
    warn_unsupported_version("obs-aws", "botocore")
    return instrument_once(
        _NAME,
        lambda: _install(loader, options),
        target=session,
        options=options,
        defaults=Options(),
    )


def _install(loader: object | None, options: Options) -> Callable[[], None]:
    return _contrib.engine.install(
        options.implementation,
        contrib=lambda: _contrib.install(loader, options),
        ours=lambda: install(Clients(options), loader),
    )


def uninstrument_boto3(session: object | None = None) -> None:
    """Undo `instrument_boto3` of the same `session`; without effect if not instrumented."""
    uninstrument(_NAME, target=session)


def _loader(session: object) -> object:
    """Return the data loader, which a session of boto3, aioboto3, botocore or aiobotocore shares with its clients."""
    get_component = getattr(
        getattr(session, "_session", session), "get_component", None
    )
    if get_component is None:
        fix = "give a boto3, aioboto3, botocore or aiobotocore session, or None"
        raise option_error("session", session, fix)
    loader: object = get_component("data_loader")
    return loader
