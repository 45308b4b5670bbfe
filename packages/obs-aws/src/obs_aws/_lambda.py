"""Lambda: the trace context travels in ``ClientContext.custom``; the payload stays the caller's bytes."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any

from obs_core.integration import fail
from opentelemetry.context import Context
from opentelemetry.trace import Span

from obs_aws._api_call import ApiCall
from obs_aws._attributes import Attributes, Params
from obs_aws._propagation import context_headers
from obs_aws._scrub import scrub

_INVOCATIONS = ("Invoke", "InvokeWithResponseStream")
#: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#lambda-Invoke-request-ClientContext
_MAX_CLIENT_CONTEXT_BYTES = 3583


class LambdaCall(ApiCall):
    """A call of Lambda."""

    def attributes(self) -> Attributes:
        """Return the invoked function."""
        function = self.params.get("FunctionName")
        if self.operation not in _INVOCATIONS or not isinstance(function, str):
            return {}
        attributes: Attributes = {
            "faas.invoked_provider": "aws",
            "faas.invoked_name": scrub(_function_name(function)),
        }
        if self.client.region:
            attributes["faas.invoked_region"] = self.client.region
        return attributes

    def carry(self, context: Context | None) -> Params:
        """Add the trace context to the caller's client context, if that is JSON and has room."""
        if self.operation not in _INVOCATIONS:
            return self.params
        present = self.params.get("ClientContext")
        client_context = _with_custom(present, context_headers(context))
        if client_context is None:
            return self.params
        return {**self.params, "ClientContext": client_context}

    def read(self, result: Mapping[str, Any]) -> None:
        """Record an error of the function: AWS answers with status 200."""
        if failure := result.get("FunctionError"):
            fail(self.span, failure, failure)

    @staticmethod
    def read_event(span: Span, event: Mapping[str, Any]) -> None:
        """Record an error of a function that streams the response."""
        if failure := event.get("InvokeComplete", {}).get("ErrorCode"):
            fail(span, failure, failure)


def _function_name(function: str) -> str:
    """Return the bare name of ``name[:version]``, ``account:function:name[:version]`` or an ARN."""
    name = function.rpartition("function:")[2]
    return name.partition(":")[0]


def _with_custom(present: object, headers: Mapping[str, str]) -> str | None:
    """Return the client context `present` with `headers` as custom values; None: no place or no room."""
    decoded = _decoded(present)
    if not headers or decoded is None:
        return None
    custom = decoded.get("custom", {})
    if not isinstance(custom, dict):
        return None
    text = json.dumps({**decoded, "custom": {**custom, **headers}})
    encoded = b64encode(text.encode()).decode()
    return encoded if len(encoded) <= _MAX_CLIENT_CONTEXT_BYTES else None


def _decoded(client_context: object) -> dict[str, Any] | None:
    """Return the caller's client context; None for anything but a JSON object."""
    if client_context is None or client_context == "":
        return {}
    if not isinstance(client_context, str):
        return None
    try:
        decoded = json.loads(b64decode(client_context))
    except (Base64Error, ValueError):
        return None
    return decoded if isinstance(decoded, dict) else None
