"""What tracing costs a request, in function calls: a count that no busy machine changes.

Machine instructions are counted by ``benchmarks/request_instructions.py``; these bounds keep the cost from growing unseen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from obs_http import instrument_fastapi, uninstrument_fastapi
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider

from tests.call_counts import function_calls, our_provider, sdk_provider
from tests.contrib_semconv import opt_in

from .ways_in import HAS_NATIVE, Client

OFF = {"telemetry": {"tracing": False}} if HAS_NATIVE else {}
#: Calls that tracing may add, beside contrib and beside FastAPI's own tracing.
#: Contrib makes fewer with OpenTelemetry 1.36 than with the newest: 0.56 of them there.
BOUNDS = {"sampled": (0.9, 0.8), "unsampled": (0.6, 0.5)}


def application(options: Any) -> FastAPI:
    app = FastAPI(**options)

    @app.get("/orders/{number}")
    async def order(number: int) -> dict[str, int]:
        return {"number": number}

    return app


@contextmanager
def bare() -> Iterator[FastAPI]:
    yield application(OFF)


@contextmanager
def native() -> Iterator[FastAPI]:
    yield application({})


@contextmanager
def contrib() -> Iterator[FastAPI]:
    app = application(OFF)
    FastAPIInstrumentor.instrument_app(app, exclude_spans=["send", "receive"])
    yield app
    FastAPIInstrumentor.uninstrument_app(app)


@contextmanager
def ours() -> Iterator[FastAPI]:
    app = application({})
    instrument_fastapi(app)
    yield app
    uninstrument_fastapi(app)


def calls(traced: Any, provider: TracerProvider, patch: pytest.MonkeyPatch) -> int:
    """Count the calls of a request."""
    patch.setattr(trace, "_TRACER_PROVIDER", provider)
    loop = asyncio.new_event_loop()
    with traced() as app:
        counted = function_calls(
            lambda: loop.run_until_complete(Client().ask(app, "/orders/7")), provider
        )
    loop.close()
    return counted


@pytest.mark.promise("HTTP-10")
@pytest.mark.parametrize("sampling", BOUNDS)
def test_calls_of_a_request(sampling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With FastAPI's own spans, fewer calls than contrib makes without its own, and fewer than FastAPI's tracing alone."""
    opt_in(monkeypatch)
    rate = 1.0 if sampling == "sampled" else 0.0
    untraced = calls(bare, sdk_provider(rate), monkeypatch)
    mine = calls(ours, our_provider(rate), monkeypatch) - untraced
    of_contrib, of_native = BOUNDS[sampling]
    theirs = calls(contrib, sdk_provider(rate), monkeypatch) - untraced
    assert 0 < mine <= of_contrib * theirs
    if HAS_NATIVE:
        alone = calls(native, sdk_provider(rate), monkeypatch) - untraced
        assert 0 < mine <= of_native * alone
