#!/usr/bin/env bash
# opentelemetry-sdk 1.45.2.
#
# force_flush(timeout_millis) of a TracerProvider with a BatchSpanProcessor neither keeps to its timeout nor tells
# whether anything was flushed: it blocks for as long as the exporter takes, and answers True when the exporter reported
# a failure, and when it raised. True stands for "not shut down yet".
#
# Expected by most: what the signature says: wait up to so many milliseconds, and True only if the spans are out. A
# handler that may wait 100 ms before its process is frozen or ended relies on both.
#
# Output seen:
#   success in 1.5 s: force_flush(100) = True after 1.5 s
#   failure in 1.5 s: force_flush(100) = True after 1.5 s
#   exception at once: force_flush(100) = True after 0.0 s
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opentelemetry-sdk==1.45.2
"$folder/venv/bin/python" - <<'PROGRAM'
import logging
import time

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

logging.disable()  # the SDK logs the exception, with a traceback


class Exporter(SpanExporter):
    def __init__(self, seconds, result):
        self.seconds, self.result = seconds, result

    def export(self, spans):
        time.sleep(self.seconds)
        if self.result is None:
            raise ConnectionError("no collector")
        return self.result


for what, seconds, result in (
    ("success in 1.5 s", 1.5, SpanExportResult.SUCCESS),
    ("failure in 1.5 s", 1.5, SpanExportResult.FAILURE),
    ("exception at once", 0, None),
):
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Exporter(seconds, result)))
    provider.get_tracer("t").start_span("a").end()
    start = time.monotonic()
    flushed = provider.force_flush(100)
    taken = time.monotonic() - start
    print(f"{what}: force_flush(100) = {flushed} after {taken:.1f} s")
    assert flushed is True and taken >= seconds, (flushed, taken)
PROGRAM
