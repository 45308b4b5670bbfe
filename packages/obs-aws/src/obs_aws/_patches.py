"""The wrapper around every client call.

All calls of all clients pass through ``_make_api_call``. Botocore's events are the public way, but do not reach existing
clients, which have copied the session's handlers; and no event follows a call that is cancelled or fails validation, which
would leave the span's context attached.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from obs_core.integration import (
    Contrib,
    Patches,
    Targets,
    call_contained,
    is_suppressed,
)

from obs_aws._api_call import ApiCall
from obs_aws._attributes import Params
from obs_aws._services import api_call
from obs_aws._state import Clients

_CONTRIB = "opentelemetry.instrumentation.botocore"
INSTRUMENTORS = [
    Contrib(f"{_CONTRIB}:{name}Instrumentor", package="obs-aws")
    for name in ("Botocore", "Aiobotocore")
]


def contrib_takes_over() -> bool:
    """Whether contrib's instrumentation is active and makes the spans; warns once."""
    if _CONTRIB not in sys.modules:
        return False
    return any(instrumentor.takes_over() for instrumentor in INSTRUMENTORS)


def install(clients: Clients, loader: object | None) -> Callable[[], None]:
    """Trace the clients of the session with data loader `loader` (default: all sessions); return the undo.

    Without effect where contrib traces already.
    """
    if contrib_takes_over():
        return lambda: None
    remove = targets.add(loader, clients)

    def undo() -> None:
        remove()
        clients.forget()

    return undo


def _patch() -> Callable[[], None]:
    from botocore.client import BaseClient

    patches = Patches()
    patches.wrap(BaseClient, "_make_api_call", _make_api_call)
    patches.wrap_if_present(
        "aiobotocore.client:AioBaseClient", "_make_api_call", _make_aio_api_call
    )
    return patches.undo


#: By the data loader, which a session shares with its clients.
targets: Targets[Clients] = Targets(_patch)


def _make_api_call(
    original: Any, client: Any, operation_name: str, api_params: Params
) -> Any:
    call = call_contained(
        "tracing an AWS call", _begin, client, operation_name, api_params
    )
    if call is None:
        return original(client, operation_name, api_params)
    with call:
        return call.answer(original(client, operation_name, call.params))


async def _make_aio_api_call(
    original: Any, client: Any, operation_name: str, api_params: Params
) -> Any:
    call = call_contained(
        "tracing an AWS call", _begin, client, operation_name, api_params
    )
    if call is None:
        return await original(client, operation_name, api_params)
    with call:
        return call.answer(await original(client, operation_name, call.params))


def _begin(client: Any, operation: str, params: Params) -> ApiCall | None:
    """Start the span of a call; None: the call is not traced."""
    clients = targets.find(client._loader)
    if clients is None or is_suppressed() or contrib_takes_over():
        return None
    return api_call(clients.state_of(client), operation, params).begin()
