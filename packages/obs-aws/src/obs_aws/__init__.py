"""Trace boto3, botocore, aioboto3 and aiobotocore on OpenTelemetry, and the processing of SQS messages."""

from obs_aws._instrument import instrument_boto3, uninstrument_boto3
from obs_aws._options import DEFAULT_EXPECTED, EndHook, StartHook
from obs_aws._processing import MessageScope, process_message

__all__ = [
    "DEFAULT_EXPECTED",
    "EndHook",
    "MessageScope",
    "StartHook",
    "instrument_boto3",
    "process_message",
    "uninstrument_boto3",
]
