"""The traced servers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import grpc
import grpc.aio
from obs_core.integration import instrument_once, option_error
from opentelemetry.trace import SpanKind

from obs_grpc._options import Options
from obs_grpc._state import Instrumentation
from obs_grpc.server import _aio, _sync
from obs_grpc.server._handlers import replace_handlers

NAME = "grpc_server"
_lock = threading.RLock()
#: The instrumentation of each server, alone or with all servers.
instrumented: WeakKeyDictionary[Any, Instrumentation] = WeakKeyDictionary()


def trace_server(server: Any, options: Options) -> None:
    """Trace the RPCs of `server`, unless traced already.

    Raises:
        ConfigurationError: `server` is not a server.
        AlreadyConfiguredError: The server is traced already, with other options.
    """
    is_aio = isinstance(server, grpc.aio.Server)
    if not is_aio and not isinstance(server, grpc.Server):
        raise option_error(
            "server", server, "give a grpc.Server or grpc.aio.Server, or None"
        )
    with _lock:
        present = instrumented.get(server)
        if present is not None and present.active:
            present.check_options(NAME, options)
            return
        instrumentation = Instrumentation(SpanKind.SERVER, options)
        if not instrumentation.contrib_takes_over(is_aio):
            instrumented[server] = instrumentation
            instrument_once(
                NAME, lambda: _install(server, instrumentation), target=server
            )


def _install(server: Any, instrumentation: Instrumentation) -> Callable[[], None]:
    try:
        uninstall = _sync.put_in_front(server, instrumentation)
    except AttributeError:
        module = _aio if isinstance(server, grpc.aio.Server) else _sync
        uninstall = replace_handlers(server, instrumentation, module.traced)

    def undo() -> None:
        instrumentation.switch_off()
        uninstall()

    return undo
