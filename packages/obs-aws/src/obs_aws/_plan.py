"""What is the same for every call of a client, worked out at its first call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from obs_core.integration import SpanPolicy
from opentelemetry.trace import Tracer
from opentelemetry.util.types import AttributeValue

from obs_aws._options import Options

if TYPE_CHECKING:
    from obs_aws._calls import Call

_LIBRARY = frozenset({"aioboto3", "aiobotocore", "boto3", "botocore", "s3transfer"})
CallFactory = Callable[["Plan", str, Mapping[str, Any]], "Call"]


class Plan:
    """A client's service, tracer and constant attributes."""

    __slots__ = (
        "_attributes",
        "make_call",
        "options",
        "policy",
        "region",
        "service",
        "service_id",
        "tracer",
    )

    def __init__(
        self, client: Any, options: Options, tracer: Tracer, make_call: CallFactory
    ) -> None:
        meta = client.meta
        self.make_call = make_call
        self.options = options
        self.policy = SpanPolicy(options.tracer_provider, roots=options.roots, library=_LIBRARY)
        self.region: str | None = meta.region_name
        self.service: str = meta.service_model.service_name
        self.service_id: str = str(meta.service_model.service_id)
        self.tracer = tracer
        shared = {
            "rpc.system": "aws-api",
            "rpc.service": self.service_id,
            "cloud.region": self.region,
        }
        shared |= _server(meta.endpoint_url)
        self._attributes: dict[str | None, dict[str, AttributeValue]] = {
            None: {key: value for key, value in shared.items() if value is not None}
        }

    def attributes(self, operation: str) -> dict[str, AttributeValue]:
        """The constant attributes of a call of `operation`; not to be changed."""
        found = self._attributes.get(operation)
        if found is None:
            found = self._attributes[operation] = {
                **self._attributes[None],
                "rpc.method": operation,
            }
        return found


def _server(endpoint_url: str) -> dict[str, str | int | None]:
    parts = urlsplit(endpoint_url)
    return {
        "server.address": parts.hostname,
        "server.port": parts.port or (80 if parts.scheme == "http" else 443),
    }
