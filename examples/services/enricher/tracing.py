"""The tracing of both of enricher's processes, the worker and the gRPC service."""

from obs_aws import instrument_boto3
from obs_celery import instrument_celery
from obs_core import TracingConfig, setup_tracing

manager, _ = setup_tracing(TracingConfig(service_name="enricher"))
instrument_celery()
instrument_boto3()
