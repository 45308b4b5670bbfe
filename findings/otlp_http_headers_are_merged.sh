#!/usr/bin/env bash
# opentelemetry-exporter-otlp-proto-http 1.45.2, opentelemetry-exporter-otlp-proto-grpc 1.45.2.
#
# With OTEL_EXPORTER_OTLP_HEADERS set, OTLPSpanExporter(headers={…}) over HTTP sends the variable's headers as well as
# those given. In the same release the same class over gRPC sends only those given, as both did up to 1.44.
#
# Expected by most: one rule for two exporters that take the same arguments and variables, and the one of the other
# settings (endpoint, timeout): an argument replaces its variable.
#
# Output seen (which of the variable's "team" and the argument's "tenant" arrive):
#   http: team, tenant
#   grpc: tenant
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opentelemetry-exporter-otlp-proto-http==1.45.2 \
    opentelemetry-exporter-otlp-proto-grpc==1.45.2 opentelemetry-sdk==1.45.2
"$folder/venv/bin/python" - <<'PROGRAM'
import os
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

arrived = []


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        arrived.extend(key.lower() for key in self.headers)
        self.send_response_only(200)
        self.end_headers()


def export(request, context):
    arrived.extend(key for key, _ in context.invocation_metadata())
    return b""


http_server = HTTPServer(("127.0.0.1", 0), Collector)
Thread(target=http_server.serve_forever, daemon=True).start()
server = grpc.server(ThreadPoolExecutor(1))
service = "opentelemetry.proto.collector.trace.v1.TraceService"
server.add_registered_method_handlers(service, {"Export": grpc.unary_unary_rpc_method_handler(export)})
grpc_port = server.add_insecure_port("127.0.0.1:0")
server.start()
os.environ["OTEL_EXPORTER_OTLP_HEADERS"] = "team=blue"
for name, exporter, place, expected in (
    ("http", OverHttp, f"{http_server.server_port}/v1/traces", ["team", "tenant"]),
    ("grpc", OverGrpc, grpc_port, ["tenant"]),
):
    arrived.clear()
    provider = TracerProvider()
    exporter = exporter(endpoint=f"http://127.0.0.1:{place}", headers={"tenant": "7"})
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("t").start_span("a").end()
    seen = [key for key in ("team", "tenant") if key in arrived]
    print(f"{name}: {', '.join(seen)}")
    assert seen == expected, seen
server.stop(0)
PROGRAM
