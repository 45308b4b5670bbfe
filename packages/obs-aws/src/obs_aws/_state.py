"""The clients traced by a call of `instrument_boto3`, and the values that all calls of a client share."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from obs_core.integration import SpanPolicy, package_tracer
from opentelemetry.trace import Tracer

from obs_aws._attributes import Attributes, client_attributes
from obs_aws._options import Options
from obs_aws._outcome import on_needs_retry
from obs_aws._propagation import on_before_call, on_before_send

#: The packages between a client and the application: see `SpanPolicy`.
LIBRARY = frozenset(
    {"aioboto3", "aiobotocore", "boto3", "botocore", "s3transfer", "obs_aws"}
)


class ClientState:
    """The service, options, tracer and constant attributes of a client."""

    def __init__(
        self, client: Any, options: Options, tracer: Tracer, policy: SpanPolicy
    ) -> None:
        meta = client.meta
        self.options = options
        self.policy = policy
        self.region: str | None = meta.region_name
        self.service: str = meta.service_model.service_name
        self.service_id: str = str(meta.service_model.service_id)
        self.tracer = tracer
        self._attributes = client_attributes(meta)
        self._attributes_by_operation: dict[str, Attributes] = {}

    def attributes(self, operation: str) -> Attributes:
        """Return the attributes that all calls of `operation` share; not to be changed."""
        found = self._attributes_by_operation.get(operation)
        if found is None:
            found = {**self._attributes, "rpc.method": operation}
            self._attributes_by_operation[operation] = found
        return found


class Clients:
    """The clients that have made a call under these options, held weakly. Thread-safe, fork-safe."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._tracer = package_tracer("obs-aws", options.tracer_provider)
        self._policy = SpanPolicy(
            options.tracer_provider,
            roots=options.roots,
            library=LIBRARY,
            include_broker=options.include_broker,
        )
        self._states: WeakKeyDictionary[Any, ClientState] = WeakKeyDictionary()
        # event, handler, unique id
        self._handlers: list[tuple[str, Any, str]] = [
            ("needs-retry", on_needs_retry, "obs-aws-needs-retry")
        ]
        if options.propagator == "xray":
            self._handlers.append(
                ("before-call", on_before_call, "obs-aws-before-call")
            )
        elif not isinstance(options.propagator, str):
            handler = on_before_send(options.propagator)
            self._handlers.append(("before-send", handler, "obs-aws-before-send"))

    def state_of(self, client: Any) -> ClientState:
        """Return the state of `client`; the first call adds the event handlers."""
        return self._states.get(client) or self._add(client)

    def _add(self, client: Any) -> ClientState:
        state = ClientState(client, self._options, self._tracer, self._policy)
        # of threads that make the first calls at once, one alone adds the handlers
        kept = self._states.setdefault(client, state)
        if kept is state:
            for handler in self._handlers:
                client.meta.events.register_last(*handler)
        return kept

    def forget(self) -> None:
        """Remove the event handlers from every client."""
        for client in list(self._states):
            for handler in self._handlers:
                client.meta.events.unregister(*handler)
        self._states.clear()
