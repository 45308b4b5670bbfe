"""Ask contrib for the stable attribute names, once, unless the user has decided."""

from __future__ import annotations

import os

_VARIABLE = "OTEL_SEMCONV_STABILITY_OPT_IN"


def stable_semconv() -> None:
    """Opt contrib's instrumentations in to the stable HTTP and database names, unless the user set the variable.

    Contrib reads ``OTEL_SEMCONV_STABILITY_OPT_IN`` from the environment at the first ``instrument()``; call this before.
    Redis and SQLAlchemy need ``http`` as well for ``server.*`` in place of ``net.*``.
    """
    os.environ.setdefault(_VARIABLE, "http,database")
