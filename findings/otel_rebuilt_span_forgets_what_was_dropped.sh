#!/usr/bin/env bash
# opentelemetry-sdk 1.45.2, opentelemetry-exporter-otlp-proto-common 1.45.2.
#
# A ReadableSpan that is made anew from all the public properties of another (as an exporter does that renames or
# redacts) says that nothing was dropped at the limits: dropped_attributes, dropped_events and dropped_links are 0, and
# so are the counts sent by OTLP. The constructor takes no such count: they live in the types of the private
# containers, which the properties `attributes`, `events` and `links` hide behind a view or a tuple.
#
# Expected by most: a copy by all of the constructor's arguments is a copy, or the counts are arguments too.
#
# Output seen (dropped attributes, events, links of the OTLP message):
#   original: 2 2 1
#   rebuilt:  0 0 0
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-common==1.45.2
"$folder/venv/bin/python" - <<'PROGRAM'
import inspect
import logging

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.trace import Link

logging.disable()  # the SDK warns of each attribute that it drops


def dropped(span):
    sent = encode_spans([span]).resource_spans[0].scope_spans[0].spans[0]
    assert sent.dropped_attributes_count == span.dropped_attributes
    return sent.dropped_attributes_count, sent.dropped_events_count, sent.dropped_links_count


tracer = TracerProvider(span_limits=SpanLimits(max_span_attributes=1, max_events=1, max_links=1)).get_tracer("t")
other = tracer.start_span("other").get_span_context()
span = tracer.start_span("a", attributes={"a": 1, "b": 2, "c": 3}, links=[Link(other), Link(other)])
for name in "abc":
    span.add_event(name)
span.end()
arguments = [name for name in inspect.signature(ReadableSpan).parameters if name != "instrumentation_info"]
rebuilt = ReadableSpan(**{name: getattr(span, name) for name in arguments})
print("original:", *dropped(span))
print("rebuilt: ", *dropped(rebuilt))
assert dropped(span) == (2, 2, 1)
assert dropped(rebuilt) == (0, 0, 0)
PROGRAM
