"""The wrapper around every client call.

All calls of all clients pass through ``_make_api_call``. Botocore's events are the public way, but do not reach existing
clients, which have copied the session's handlers; and no event follows a call that is cancelled or fails validation, which
would leave the span's context attached.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any
from weakref import WeakKeyDictionary

from obs_core.integration import Contrib, Patches, call_contained, is_suppressed

from obs_aws._api_call import ApiCall
from obs_aws._attributes import Params
from obs_aws._services import API_CALLS
from obs_aws._state import Clients

_CONTRIB = "opentelemetry.instrumentation.botocore"
_INSTRUMENTORS = [
    Contrib(f"{_CONTRIB}:{name}Instrumentor", package="obs-aws")
    for name in ("Botocore", "Aiobotocore")
]


def contrib_takes_over() -> bool:
    """Whether contrib's instrumentation is active and makes the spans; warns once."""
    if _CONTRIB not in sys.modules:
        return False
    return any(instrumentor.takes_over() for instrumentor in _INSTRUMENTORS)


class Targets:
    """The traced clients of all sessions and of single sessions, by the data loader that session and clients share."""

    def __init__(self) -> None:
        self._of_all: Clients | None = None
        self._by_loader: WeakKeyDictionary[object, Clients] = WeakKeyDictionary()
        self._patches = Patches()
        # a signal handler may instrument too
        self._lock = threading.RLock()

    def find(self, client: Any) -> Clients | None:
        """Return the options and clients that `client` belongs to."""
        if self._by_loader:
            return self._by_loader.get(client._loader, self._of_all)
        return self._of_all

    def add(self, loader: object | None, clients: Clients) -> None:
        """Trace the clients of the session with `loader` (None: of all sessions)."""
        with self._lock:
            if self._of_all is None and not self._by_loader:
                self._patches = _patch()
            if loader is None:
                self._of_all = clients
            else:
                self._by_loader[loader] = clients

    def remove(self, loader: object | None, clients: Clients) -> None:
        """Undo `add`; the last removal restores the library."""
        with self._lock:
            clients.forget()
            if loader is None:
                self._of_all = None
            else:
                self._by_loader.pop(loader, None)
            if self._of_all is None and not self._by_loader:
                self._patches.undo()


_targets = Targets()


def install(clients: Clients, loader: object | None) -> Callable[[], None]:
    """Trace `clients`, and return the undo; without effect where contrib traces already."""
    if contrib_takes_over():
        return lambda: None
    _targets.add(loader, clients)
    return lambda: _targets.remove(loader, clients)


def _patch() -> Patches:
    """Wrap the calls of botocore's clients, and of aiobotocore's if installed."""
    from botocore.client import BaseClient

    patches = Patches()
    patches.wrap(BaseClient, "_make_api_call", _make_api_call)
    if find_spec("aiobotocore") is not None:
        call_contained("importing aiobotocore", _patch_aiobotocore, patches)
    return patches


def _patch_aiobotocore(patches: Patches) -> None:
    from aiobotocore.client import AioBaseClient

    patches.wrap(AioBaseClient, "_make_api_call", _make_aio_api_call)


def _make_api_call(original: Any, client: Any, operation_name: str, api_params: Params) -> Any:
    call = call_contained("tracing an AWS call", _begin, client, operation_name, api_params)
    if call is None:
        return original(client, operation_name, api_params)
    with call:
        return call.answer(original(client, operation_name, call.params))


async def _make_aio_api_call(
    original: Any, client: Any, operation_name: str, api_params: Params
) -> Any:
    call = call_contained("tracing an AWS call", _begin, client, operation_name, api_params)
    if call is None:
        return await original(client, operation_name, api_params)
    with call:
        return call.answer(await original(client, operation_name, call.params))


def _begin(client: Any, operation: str, params: Params) -> ApiCall | None:
    """Start the span of a call; None: the call is not traced."""
    clients = _targets.find(client)
    if clients is None or is_suppressed() or contrib_takes_over():
        return None
    state = clients.state_of(client)
    return API_CALLS.get(state.service, ApiCall)(state, operation, params).begin()
