"""The class for ``opentelemetry-instrument``."""

from obs_core.integration import otel_instrumentor

from obs_aws._instrument import instrument_boto3, uninstrument_boto3

Boto3Instrumentor = otel_instrumentor(
    "Boto3Instrumentor", instrument_boto3, uninstrument_boto3
)
