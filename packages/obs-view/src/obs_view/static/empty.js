// What to do when nothing has come yet: lines to paste.

import { copyButton } from "./copy.js";
import { el, fetchJson } from "./dom.js";

export function empty() {
  const host = location.hostname, http = location.origin;
  const ways = el("div", { className: "ways" });
  const fill = (grpc) => ways.replaceChildren(
    way("An obs service", "Python, with obs-core", `from obs_core import TracingConfig, setup_tracing\n\nconfig = TracingConfig(service_name="orders",\n                       collector_url="${grpc}")\nsetup_tracing(config)`),
    way("OTLP over gRPC", "any language", `export OTEL_EXPORTER_OTLP_ENDPOINT=${grpc}\nexport OTEL_EXPORTER_OTLP_PROTOCOL=grpc`),
    way("OTLP over HTTP", "any language", `export OTEL_EXPORTER_OTLP_ENDPOINT=${http}\nexport OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`));
  fill(`http://${host}:4317`);
  fetchJson("/api/receiver").then((receiver) => fill(`http://${host}:${receiver.grpc_port}`)).catch(() => {});
  return el("div", { className: "empty" }, el("h2", {}, "Waiting for traces"), el("p", {}, "Point a service here, and make it work. What it sends is shown at once."), ways,
    el("p", { className: "note" }, "Nothing to start yet? ", el("code", {}, "obs-view demo"), " Or drop an OTLP-JSON file on this page."));
}

function way(title, text, lines) {
  return el("section", { className: "way" }, el("h3", {}, title, " ", el("small", {}, text)), el("pre", {}, lines), copyButton(lines, "Copy", `Copy the lines: ${title}`));
}
