"""What is done to a drill's processes, and to what they stand on: each begins, and ends."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tests.faults.collector import Answer
from tests.faults.processes import Process

#: The name under which a service looks for a collector that moves, and its two addresses: texts of the same length.
MOVED_NAME, OLD_HOST, NEW_HOST = "collector.test", "127.0.0.1", "127.0.0.2"
#: Gives a process mounts of its own, without being root.
_OWN_MOUNTS = ("unshare", "--user", "--map-root-user", "--mount")


class Subject(Protocol):
    """The drill, as far as an incident needs it."""

    folder: Path
    spool: Path
    answer: Answer

    @property
    def service(self) -> Process: ...

    @property
    def collector(self) -> Process: ...

    def start_collector(self, host: str = ..., certificate: str = ...) -> None: ...

    def start_next_service(self) -> None: ...


class Incident:
    """The collector answers as the fault says."""

    #: The host that the service is told, and the scheme.
    url_host, scheme = OLD_HOST, "http"

    def __init__(self, drill: Subject) -> None:
        self.drill = drill
        self.prefix: tuple[str, ...] = ()
        self.environment: Mapping[str, str] = {}

    def prepare(self) -> None:
        """Start the collector."""
        self.drill.start_collector()

    def begin(self) -> None:
        """Begin."""
        self.drill.collector.ask(self.drill.answer.to_json())

    def end(self) -> None:
        """End."""
        self.drill.collector.ask(Answer().to_json())


class Killed(Incident):
    """The collector is killed, and started again."""

    def begin(self) -> None:
        self.drill.collector.end(signal.SIGKILL)

    def end(self) -> None:
        self.drill.start_collector()


class Stopped(Incident):
    """The collector is stopped, and continued: it listens and says nothing."""

    def begin(self) -> None:
        self.drill.collector.popen.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        self.drill.collector.popen.send_signal(signal.SIGCONT)


class Service(Incident):
    """The service is killed, and another started in its place."""

    def begin(self) -> None:
        self.drill.service.end(signal.SIGKILL)
        self.drill.start_next_service()

    def end(self) -> None:
        pass


class Within(Incident):
    """Something goes wrong within the service."""

    def begin(self) -> None:
        self.drill.service.popen.send_signal(signal.SIGUSR1)

    def end(self) -> None:
        self.drill.service.popen.send_signal(signal.SIGUSR2)


class Certificate(Incident):
    """The collector comes back with a certificate that has expired, and then with a good one."""

    scheme = "https"

    def prepare(self) -> None:
        from tests.faults.certificates import write_certificates

        write_certificates(self.drill.folder)
        authority = str(self.drill.folder / "ca.pem")
        self.environment = {"OTEL_EXPORTER_OTLP_CERTIFICATE": authority}
        self.drill.start_collector(certificate="good")

    def begin(self) -> None:
        self._restart("expired")

    def end(self) -> None:
        self._restart("good")

    def _restart(self, certificate: str) -> None:
        self.drill.collector.end(signal.SIGKILL)
        self.drill.start_collector(certificate=certificate)


class Moved(Incident):
    """The collector moves to another address; its name follows at the end, in a hosts file of the service alone."""

    url_host = MOVED_NAME

    def prepare(self) -> None:
        self._hosts = self.drill.folder / "hosts"
        self._hosts.write_text(f"{OLD_HOST} {MOVED_NAME}\n", encoding="ascii")
        mount = f'mount --bind {self._hosts} /etc/hosts && exec "$@"'
        self.prefix = (*_OWN_MOUNTS, "sh", "-c", mount, "sh")
        self.drill.start_collector()

    def begin(self) -> None:
        self.drill.collector.end(signal.SIGKILL)
        self.drill.start_collector(NEW_HOST)

    def end(self) -> None:
        # in one step, and in place: the mount is of this very file
        with self._hosts.open("r+b", buffering=0) as file:
            file.write(NEW_HOST.encode())


class ReadOnly(Incident):
    """A read-only mount comes over the spool: files that are open can be written, and no other."""

    def prepare(self) -> None:
        self.prefix = _OWN_MOUNTS
        self.drill.start_collector()

    def begin(self) -> None:
        spool = str(self.drill.spool)
        self._in_service("mount", "--bind", spool, spool)
        self._in_service("mount", "-o", "remount,bind,ro", spool)

    def end(self) -> None:
        # lazily: a directory that is being read is busy
        self._in_service("umount", "--lazy", str(self.drill.spool))

    def _in_service(self, *command: str) -> None:
        target = f"--target={self.drill.service.popen.pid}"
        enter = ("nsenter", target, "--user", "--preserve-credentials", "--mount")
        subprocess.run([*enter, *command], check=True, timeout=60)


INCIDENTS: dict[str, type[Incident]] = {
    "": Incident,
    "killed": Killed,
    "stopped": Stopped,
    "service": Service,
    "within": Within,
    "certificate": Certificate,
    "moved": Moved,
    "read-only": ReadOnly,
}
"""By the name that a fault gives its `process`."""


def has_own_mounts() -> bool:
    """Whether this machine lets a user give a process mounts of its own."""
    try:
        command = [*_OWN_MOUNTS, "true"]
        return not subprocess.run(command, capture_output=True, timeout=60).returncode
    except OSError:
        return False
