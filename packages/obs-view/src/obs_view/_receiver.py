"""The receiver: both OTLP endpoints over a common store."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable

import grpc
import uvicorn
from starlette.applications import Starlette

from obs_view._cors import Cors, checked_origin
from obs_view._database import Database
from obs_view._grpc import start_server
from obs_view._host_check import HostCheck
from obs_view._http import otlp_routes
from obs_view._render import trace_text
from obs_view._store import MAX_AGE_S, MAX_SPANS, Store
from obs_view._trace import Trace
from obs_view._web import web_routes


class PortInUseError(OSError):
    """A port cannot be bound; the message says which, and the fix."""


class Receiver:
    """An OTLP receiver (HTTP and gRPC, in threads of its own) that keeps traces in memory; a context manager.

    ::

        with Receiver(port=0, grpc_port=0) as receiver:
            run_service(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.http_url)
            for trace in receiver.wait_for(lambda traces: any(trace.complete for trace in traces)):
                render_trace(trace)

    Attributes:
        store: The traces; usable before, while and after the receiver runs.
    """

    def __init__(
        self,
        port: int = 4318,
        grpc_port: int = 4317,
        *,
        host: str = "127.0.0.1",
        allowed_hosts: Iterable[str] = (),
        allowed_origins: Iterable[str] = (),
        max_spans: int = MAX_SPANS,
        max_age_s: float = MAX_AGE_S,
        db: str | None = None,
    ) -> None:
        """Prepare a receiver; nothing is bound before `start`.

        Args:
            port: HTTP port, default 4318; 0 takes any free port.
            grpc_port: gRPC port, default 4317; 0 takes any free port.
            host: Address to bind, default loopback: traces hold private data.
            allowed_hosts: Names under which HTTP is served beside localhost and IP addresses.
            allowed_origins: Origins whose web pages may send spans (CORS), as ``http://localhost:3000``; ``*`` stands for any
                characters, default: no origin.
            max_spans: Spans kept, default 100,000; then the traces without new spans for longest are dropped.
            max_age_s: Seconds that a trace is kept after its last span, default a day.
            db: SQLite file that keeps the traces for the next start, default: no file; the memory is bounded all the same.

        Raises:
            DatabaseError: `db` is in use, or no SQLite file.
            ValueError: An origin is not valid.
        """
        self.host: str = host
        self.port: int = port
        self.grpc_port: int = grpc_port
        self._allowed = tuple(allowed_hosts)
        self._origins = tuple(map(checked_origin, allowed_origins))
        self.store: Store = Store(max_spans, max_age_s, Database(db) if db else None)
        self._grpc: grpc.Server | None = None
        self._http: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._listener: socket.socket | None = None

    @property
    def http_url(self) -> str:
        """The base URL for ``OTEL_EXPORTER_OTLP_ENDPOINT`` with ``http/protobuf``; exporters add ``/v1/traces``."""
        return f"http://{self._reachable}:{self.port}"

    @property
    def grpc_url(self) -> str:
        """The URL for ``OTEL_EXPORTER_OTLP_ENDPOINT`` with ``grpc``."""
        return f"http://{self._reachable}:{self.grpc_port}"

    @property
    def _reachable(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - read, not bound
        return f"[{host}]" if ":" in host else host

    def start(self) -> Receiver:
        """Bind both ports and serve; return self.

        Raises:
            PortInUseError: A port is taken; neither end runs.
        """
        listener = _bind(self.host, self.port, "--port")
        self.port = listener.getsockname()[1]
        try:
            _bind(self.host, self.grpc_port, "--grpc-port").close()
            self._grpc, self.grpc_port = start_server(
                self.store, self.host, self.grpc_port
            )
        except OSError:
            listener.close()
            raise
        self._serve(listener)
        return self

    def _serve(self, listener: socket.socket) -> None:
        pages = web_routes(self.store, lambda: self.grpc_port)
        routes = Starlette(routes=[*otlp_routes(self.store), *pages])
        app = HostCheck(Cors(routes, self._origins), self._allowed)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self._http, self._listener = uvicorn.Server(config), listener
        arguments = {"sockets": [listener]}
        self._thread = threading.Thread(
            target=self._http.run, kwargs=arguments, name="obs-view-http", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Finish running requests, free both ports, close the database; the traces stay in memory. May be called twice."""
        if self._grpc is not None:
            self._grpc.stop(grace=1).wait()
            self._grpc = None
        if self._http is not None and self._thread is not None:
            self._http.should_exit = True
            self._thread.join()
            self._http = self._thread = None
        if self._listener is not None:
            self._listener.close()  # uvicorn does so too, unless it was stopped before it had started
        self.store.close()

    def __enter__(self) -> Receiver:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def traces(self) -> list[Trace]:
        """Return all traces received until now, in the order of their start."""
        return self.store.traces()

    def wait_for(
        self, enough: int | Callable[[list[Trace]], bool], timeout_s: float = 30.0
    ) -> list[Trace]:
        """Wait until `enough` spans have been received, or until `enough` returns true for the traces; return all traces.

        Raises:
            TimeoutError: Not within `timeout_s`; the message shows the received traces.
        """

        def satisfied() -> bool:
            return (
                enough(self.traces())
                if callable(enough)
                else self.store.count >= enough
            )

        if not self.store.wait(satisfied, timeout_s):
            shown = (
                "\n\n".join(trace_text(trace) for trace in self.traces()) or "nothing"
            )
            raise TimeoutError(
                f"not enough after {timeout_s:g} s; what has come:\n{shown}"
            )
        return self.traces()


def _bind(host: str, port: int, option: str) -> socket.socket:
    # with the protocol named, asyncio sets TCP_NODELAY, without which an answer may take 40 ms longer
    listener = socket.socket(
        socket.AF_INET6 if ":" in host else socket.AF_INET,
        socket.SOCK_STREAM,
        socket.IPPROTO_TCP,
    )
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        fix = f"stop what uses it, or choose another with {option} (0: any free one)"
        raise PortInUseError(
            f"cannot listen on {host}:{port} ({error.strerror}): {fix}"
        ) from error
    return listener
