"""The tracing of one `instrument_boto3`: its clients, and which call is traced how."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from obs_core.integration import is_suppressed, package_tracer, warn_if_contrib_is_active

from obs_aws._bedrock import bedrock_call
from obs_aws._calls import Call
from obs_aws._carrier import on_before_call
from obs_aws._dynamodb import DynamoDbCall
from obs_aws._messaging import sns_call, sqs_call
from obs_aws._options import Options
from obs_aws._outcome import on_needs_retry
from obs_aws._plan import CallFactory, Plan
from obs_aws._services import (
    EventBridgeCall,
    KinesisCall,
    LambdaCall,
    NamedCall,
    S3Call,
)

_UNIQUE_ID = "obs-aws"
_CALLS: dict[str, CallFactory] = {
    "bedrock-runtime": bedrock_call,
    "dynamodb": DynamoDbCall,
    "events": EventBridgeCall,
    "kinesis": KinesisCall,
    "lambda": LambdaCall,
    "s3": S3Call,
    "secretsmanager": NamedCall,
    "sns": sns_call,
    "sqs": sqs_call,
    "stepfunctions": NamedCall,
}

_CONTRIB = "opentelemetry.instrumentation.botocore"
_INSTRUMENTORS = tuple(f"{_CONTRIB}:{name}Instrumentor" for name in ("Botocore", "Aiobotocore"))


def contrib_traces_too() -> bool:
    """Tell whether contrib's instrumentation is active, with one warning: then the spans are contrib's.

    Asked at each call, since it may be switched on after ours: next to nothing where it has not been imported.
    """
    return _CONTRIB in sys.modules and any(
        warn_if_contrib_is_active(each, package="obs-aws") for each in _INSTRUMENTORS
    )


class Tracing:
    """Starts calls with these options; holds its clients weakly. Thread-safe and fork-safe."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._tracer = package_tracer("obs-aws", options.tracer_provider)
        self._plans: WeakKeyDictionary[Any, Plan] = WeakKeyDictionary()

    def begin(self, client: Any, operation: str, params: Mapping[str, Any]) -> Call | None:
        """Return the call, begun; None where nothing is to be traced."""
        if is_suppressed() or contrib_traces_too():
            return None
        plan = self._plans.get(client) or self._plan(client)
        return plan.make_call(plan, operation, params).begin()

    def _plan(self, client: Any) -> Plan:
        make_call = _CALLS.get(client.meta.service_model.service_name, Call)
        plan = Plan(client, self._options, self._tracer, make_call)
        # of threads that make the first calls at once, the one whose plan is kept adds the handlers
        if (kept := self._plans.setdefault(client, plan)) is plan:
            for event, handler in self._handlers():
                client.meta.events.register_last(event, handler, unique_id=f"{_UNIQUE_ID}-{event}")
        return kept

    def forget_clients(self) -> None:
        """Take the event handlers off every client again."""
        for client in list(self._plans):
            for event, handler in self._handlers():
                client.meta.events.unregister(event, handler, unique_id=f"{_UNIQUE_ID}-{event}")
        self._plans.clear()

    def _handlers(self) -> list[tuple[str, Any]]:
        handlers = [("needs-retry", on_needs_retry)]
        return (
            [*handlers, ("before-call", on_before_call)]
            if self._options.propagator == "xray"
            else handlers
        )
