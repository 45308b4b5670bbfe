"""Redis' codes for errors, without the messages, which quote arguments."""

from __future__ import annotations

import re

_EXPECTED = frozenset({"NoScriptError", "WatchError"})
_CODES = {
    "AskError": "ASK",
    "AuthenticationError": "WRONGPASS",
    "BusyLoadingError": "LOADING",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "ExecAbortError": "EXECABORT",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}
_PREFIX = re.compile(r"([A-Z]{3,16}) ")


def is_expected(error: BaseException) -> bool:
    """Whether `error` is part of how Redis is used: a script not cached yet, a watched key that changed."""
    return bool(_EXPECTED.intersection(cls.__name__ for cls in type(error).__mro__))


def error_code(error: BaseException) -> str | None:
    """Return the server's code for `error` (``WRONGTYPE``, ``NOSCRIPT``, ``ERR``).

    None where no server has answered.
    """
    names = [cls.__name__ for cls in type(error).__mro__]
    known = next((_CODES[name] for name in names if name in _CODES), None)
    if known or "ResponseError" not in names:
        return known
    message = str(next(iter(error.args), ""))
    if message.startswith("Command # "):  # a pipeline's error quotes the command first
        return None
    prefix = _PREFIX.match(message)
    return "ERR" if prefix is None else prefix.group(1)
