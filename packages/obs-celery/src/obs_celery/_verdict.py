"""The end of an attempt as the main process sees it: lost, killed, timed out, revoked, expired, unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celery.exceptions import Terminated
from celery.platforms import signal_name
from obs_core.integration import error_type, fail, record_error
from opentelemetry.trace import Span

from obs_celery._options import Options


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of an attempt: Celery's `state`, the reason in words, and whether that is an error."""

    state: str
    reason: str
    cause: BaseException
    is_error: bool = True

    @property
    def error_type(self) -> str | None:
        """``error.type`` of an error."""
        return error_type(self.cause) if self.is_error else None

    def write_on(self, span: Span) -> None:
        """Set the state and the reason, and the error if there is one."""
        span.set_attribute("celery.state", self.state)
        span.set_attribute("celery.reason", self.reason)
        if self.is_error and self.cause.__traceback__ is not None:
            record_error(span, self.cause)
        elif self.is_error:
            fail(span, error_type(self.cause), self.reason)


def revocation(
    options: Options, terminated: bool, signum: Any, expired: bool
) -> Verdict:
    """Return the end of an attempt that was killed, or of a message that was revoked or came too late."""
    if terminated:
        reason = f"terminated by {_signal_name(signum)}"
        return Verdict("REVOKED", reason, Terminated(signum))
    reason = "expired" if expired else "revoked"
    is_error = reason.upper() in options.error_states
    return Verdict("REVOKED", reason, Terminated(reason), is_error)


def _signal_name(signum: Any) -> str:
    return f"SIG{signal_name(signum)}" if isinstance(signum, int) else str(signum)
