"""Keep docs/metrics.md equal to the code: every metric that the packages make, as a MeterProvider sees it made.

``python -m scripts.metrics`` checks; ``--write`` writes the table anew. Needs all packages with what they instrument.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opentelemetry import metrics

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"
_START, _END = "<!-- metrics: written by scripts/metrics.py -->", "<!-- end -->"
_KINDS = {
    "create_counter": "counter",
    "create_up_down_counter": "up-down counter",
    "create_histogram": "histogram",
    "create_gauge": "gauge",
    "create_observable_counter": "counter",
    "create_observable_up_down_counter": "up-down counter",
    "create_observable_gauge": "gauge",
}
Row = tuple[str, str, str, str, str, str]


class Listing(metrics.NoOpMeterProvider):
    """A MeterProvider that writes down each instrument that is made."""

    def __init__(self) -> None:
        self.rows: set[Row] = set()

    def get_meter(self, name: str, *_: Any, **__: Any) -> Any:
        """Return a meter that writes down."""
        return _Meter(name, self.rows)


class _Meter:
    def __init__(self, scope: str, rows: set[Row]) -> None:
        self._meter = metrics.NoOpMeter(scope)
        self._scope, self._rows = scope, rows

    def __getattr__(self, method: str) -> Any:
        def create(
            name: str,
            *args: Any,
            unit: str = "",
            description: str = "",
            explicit_bucket_boundaries_advisory: Sequence[float] = (),
            **_: Any,
        ) -> Any:
            texts = [text for text in args if isinstance(text, str)]
            unit, description = [*texts, "", ""][:2] if texts else (unit, description)
            buckets = ", ".join(map("{:g}".format, explicit_bucket_boundaries_advisory))
            row = name, _KINDS[method], unit, self._scope, description, buckets
            self._rows.add(row)
            return getattr(self._meter, method)(name)

        return create


def made() -> set[Row]:
    """Use each package in a way that makes its instruments; return what was made."""
    listing = Listing()
    metrics.set_meter_provider(listing)
    _core()
    _celery()
    _databases()
    _http()
    return listing.rows


def _core() -> None:
    from obs_core import TracingConfig, setup_tracing
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
        InMemorySpanExporter,
    )

    # it says that the provider is ours; the export's own metrics are on all the same
    logging.disable(logging.WARNING)
    config = TracingConfig(service_name="metrics", logs=True, metrics=True)
    setup_tracing(config, span_exporter=InMemorySpanExporter())


def _celery() -> None:
    from celery import Celery
    from obs_celery import instrument_celery

    instrument_celery(Celery("metrics", broker="memory://", set_as_current=False))


def _databases() -> None:
    from obs_db import instrument_sqlalchemy
    from sqlalchemy import create_engine

    instrument_sqlalchemy(create_engine("sqlite://"))


def _http() -> None:
    import httpx
    from fastapi.testclient import TestClient
    from obs_http import RequestTracingMiddleware, instrument_httpx
    from starlette.applications import Starlette

    app = Starlette()
    app.add_middleware(RequestTracingMiddleware)
    TestClient(app).get("/")
    answer = httpx.MockTransport(lambda _: httpx.Response(200))
    with httpx.Client(transport=answer) as client:
        instrument_httpx(client)
        client.get("http://example.com/")


def table(rows: set[Row]) -> str:
    """Return the table of the page."""
    lines = [
        "| metric | kind | unit | scope | is | buckets |",
        "|---|---|---|---|---|---|",
    ]
    for name, kind, unit, scope, description, buckets in sorted(rows):
        cells = f"`{name}`", kind, f"`{unit}`", f"`{scope}`", description, buckets
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def written(text: str, rows: set[Row]) -> str:
    """Return the page `text` with the table of `rows`."""
    before, _, rest = text.partition(_START)
    return f"{before}{_START}\n\n{table(rows)}\n\n{_END}{rest.partition(_END)[2]}"


def main() -> int:
    """Check the page, or write it."""
    text = PAGE.read_text(encoding="utf-8")
    expected = written(text, made())
    if "--write" in sys.argv:
        PAGE.write_text(expected, encoding="utf-8")
    elif text != expected:
        print(
            "docs/metrics.md is not what the code makes: python -m scripts.metrics --write"
        )
        return 1
    print("docs/metrics.md and the code agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
