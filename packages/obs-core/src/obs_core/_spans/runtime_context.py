"""`get_current`, `attach` and `detach` of `opentelemetry.context`, called without their layers.

The API's functions ask an object that asks a context variable. Where that object is the API's own, the variable is asked; for
any other, set by ``OTEL_PYTHON_CONTEXT`` or laid out otherwise by a later API, the functions are the API's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any

from opentelemetry import context as api
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext


def _variable() -> ContextVar[Context] | None:
    """Return the context variable of the API, or None where it is not known."""
    runtime = getattr(api, "_RUNTIME_CONTEXT", None)
    found = getattr(runtime, "_current_context", None)
    is_known = type(runtime) is ContextVarsRuntimeContext
    return found if is_known and isinstance(found, ContextVar) else None


def _detach_from(variable: ContextVar[Context]) -> Callable[[Any], None]:
    reset = variable.reset

    def detach(token: Token[Context]) -> None:
        try:
            reset(token)
        except Exception:  # noqa: BLE001 - the API fails likewise, and says so in its log
            api.detach(token)

    return detach


_known = _variable()
get_current: Callable[[], Context] = _known.get if _known else api.get_current
attach: Callable[[Context], Any] = _known.set if _known else api.attach
detach: Callable[[Any], None] = _detach_from(_known) if _known else api.detach
