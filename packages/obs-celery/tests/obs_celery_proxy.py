"""A TCP proxy on loopback whose connections a test can break, as a network does."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from types import TracebackType


class Proxy:
    """Forwards its port to `host`:`port` until the block ends."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace_back: TracebackType | None,
    ) -> None:
        # a thread in accept() keeps a closed listener alive
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Break every connection; new ones are accepted."""
        while self._sockets:
            with contextlib.suppress(OSError):
                self._sockets.pop().shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                threading.Thread(
                    target=_forward, args=(client, server), daemon=True
                ).start()


def _forward(client: socket.socket, server: socket.socket) -> None:
    other = {client: server, server: client}
    with client, server, contextlib.suppress(OSError):
        while True:
            for ready in select.select([client, server], [], [])[0]:
                if not (data := ready.recv(65536)):
                    return
                other[ready].sendall(data)
