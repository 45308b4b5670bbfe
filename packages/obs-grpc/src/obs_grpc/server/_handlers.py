"""Replace the handlers of an existing server: present and future handlers.

The interceptors of a ``grpc.aio.Server`` are out of reach for Python code.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from weakref import ref

import grpc

from obs_grpc._state import Instrumentation
from obs_grpc.server import _aio

#: `traced` of the sync or of the aio server.
Traced = Callable[[Instrumentation, Any, Any], Any]
#: Makes the traced handlers of generic handlers.
Wrap = Callable[[Any], "TracedHandlers"]


class TracedHandlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A generic handler of the user whose method handlers are traced."""

    def __init__(
        self, instrumentation: Instrumentation, traced: Traced, plain: Any
    ) -> None:
        self._instrumentation = instrumentation
        self._traced = traced
        self.plain = plain

    def service(self, handler_call_details: Any) -> Any:
        """See ``grpc.GenericRpcHandler.service``."""
        handler = self.plain.service(handler_call_details)
        return self._traced(self._instrumentation, handler, handler_call_details)


class Registration:
    """The methods of a server that add handlers, replaced on the object. Holds the server weakly."""

    def __init__(self, server: Any, wrap: Wrap) -> None:
        self._server = ref(server)
        self._wrap = wrap
        self._add = type(server).add_generic_rpc_handlers
        self._replacements: dict[str, Callable[..., None]] = {}
        replacements = (
            self.add_generic_rpc_handlers,
            self.add_registered_method_handlers,
        )
        for replacement in replacements:
            if hasattr(
                server, replacement.__name__
            ):  # grpc < 1.64 has no registered handlers
                self._replacements[replacement.__name__] = replacement
        vars(server).update(self._replacements)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[Any]) -> None:
        """See ``grpc.Server.add_generic_rpc_handlers``."""
        self._add(self._server(), list(map(self._wrap, generic_rpc_handlers)))

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: dict[str, Any]
    ) -> None:
        """See ``grpc.Server.add_registered_method_handlers``.

        Added as a generic handler, which serves the same methods: a registered handler is not asked for each RPC, and so
        could neither count messages nor be switched off.
        """
        generic = grpc.method_handlers_generic_handler(service_name, method_handlers)
        self.add_generic_rpc_handlers([generic])

    def undo(self) -> None:
        """Restore the methods, unless others have replaced them since."""
        server = self._server()
        if server is None:
            return
        for name, replacement in self._replacements.items():
            if vars(server).get(name) is replacement:
                delattr(server, name)


class AdoptedHandlers:
    """The handlers that an aio server has already, replaced in the server's own list and dicts.

    The server is an extension type without attributes for Python, but the garbage collector knows the containers. Without
    effect if this version of grpc has different containers.
    """

    def __init__(
        self, cython_server: Any, instrumentation: Instrumentation, wrap: Wrap
    ) -> None:
        parts = gc.get_referents(cython_server)
        lists = [part for part in parts if isinstance(part, list)]
        self._generic: list[Any] = []
        self._registered: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
        # anything else than a single list of generic handlers: another version of grpc
        if len(lists) == 1 and all(map(_is_generic_handler, lists[0])):
            self._generic = lists[0]
            found = filter(_are_registered_methods, parts)
            self._registered = [(each, dict(each)) for each in found]
        for methods, originals in self._registered:
            for name, handler in originals.items():
                full_method = name.decode() if isinstance(name, bytes) else name
                methods[name] = _aio.registered(instrumentation, handler, full_method)
        self._generic[:] = map(wrap, self._generic)

    def undo(self) -> None:
        """Restore the handlers, also those that were added since."""
        for methods, originals in self._registered:
            methods.update(originals)
        self._generic[:] = [
            getattr(handlers, "plain", handlers) for handlers in self._generic
        ]


def _is_generic_handler(value: object) -> bool:
    return isinstance(value, grpc.GenericRpcHandler)


def _are_registered_methods(value: object) -> bool:
    """Whether `value` is a dict of method handlers by name."""
    if not isinstance(value, dict) or not value:
        return False
    return all(isinstance(handler, grpc.RpcMethodHandler) for handler in value.values())


def replace_handlers(
    server: Any, instrumentation: Instrumentation, traced: Traced
) -> Callable[[], None]:
    """Trace the RPCs of the handlers of `server`, present and future; return the undo."""
    wrap = partial(TracedHandlers, instrumentation, traced)
    adopted = AdoptedHandlers(getattr(server, "_server", None), instrumentation, wrap)
    registration = Registration(server, wrap)

    def undo() -> None:
        adopted.undo()
        registration.undo()

    return undo
