// The last value of each metric, by service and attributes, and the traces of its exemplars.

import { clock, dot, duration, el, plural } from "./dom.js";
import { Filters, select } from "./filters.js";
import { histogram } from "./histogram.js";

const PAGE = 200;
const COLUMNS = ["Metric", "Attributes", "Type", "Last value", "Buckets", "Exemplars", "At"];
const SECONDS = { s: 1e9, ms: 1e6, us: 1e3, ns: 1 };

export class MetricsView {
  constructor(query, address) {
    this.search = el("input", { type: "search", id: "search", placeholder: "Search: words, name=…, key=value, -word", ariaLabel: "Search" });
    const controls = { q: this.search, service: select("Service", [["", "all services"]]) };
    this.note = el("span", { role: "status" });
    this.pages = el("span", { className: "pages" });
    this.rows = el("div", { className: "traces metrics", tabIndex: 0, ariaLabel: "Metrics" });
    this.filters = new Filters("metrics", "/api/metrics", query, address, controls, { load: (found) => this.load(found), fail: (message) => { this.note.textContent = message; this.note.className = "cross"; } });
    this.element = el("section", { className: "view" }, el("div", { className: "bar-of-filters" }, this.search, controls.service), el("p", { className: "note" }, this.note, el("span", { className: "space" }), this.pages), this.rows);
  }

  address() { return this.filters.address(); }
  close() { this.top = this.rows.scrollTop; this.filters.close(); }
  open() { this.filters.open(); }
  shown() { this.rows.scrollTop = this.top || 0; }

  load(found) {
    const top = this.rows.scrollTop;
    this.note.className = "";
    this.filters.services(found.services);
    this.note.textContent = found.total ? plural(found.total, "stream") + (found.total > found.metrics.length ? `, ${found.offset + 1}–${found.offset + found.metrics.length} shown` : "") : "";
    const page = (step, text) => el("button", { className: "quiet", onclick: () => { this.rows.scrollTop = 0; this.filters.set("offset", String(Math.max(0, found.offset + step) || "")); } }, text);
    this.pages.replaceChildren(...(found.offset ? [page(-PAGE, "‹ Previous")] : []), ...(found.total > found.offset + PAGE ? [page(PAGE, "Next ›")] : []));
    this.rows.replaceChildren(...(found.metrics.length ? [el("div", { className: "metric head" }, ...COLUMNS.map((text) => el("span", {}, text))), ...found.metrics.map(row)]
      : [el("p", { className: "empty" }, found.count ? "No metric fits the search." : "No metrics have come. An obs service sends them with TracingConfig(metrics=True), every 60 s; any OTLP exporter for metrics does.")]));
    this.rows.scrollTop = top;
  }

  key(event) {
    if (event.key === "/") this.search.focus();
    else if (event.key === "Escape") location.hash = "#/";
    else return false;
    return true;
  }
}

function row(metric) {
  const attributes = Object.entries(metric.attributes).map(([key, value]) => el("span", {}, `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`));
  const exemplars = metric.exemplars.map((place) => el("a", { href: `#/trace/${place.trace}${place.span ? "/" + place.span : ""}`, title: `${quantity(place.value, metric.unit)} in trace ${place.trace}, ${clock(place.time / 1e6)}` }, place.trace.slice(0, 8)));
  return el("div", { className: "metric" },
    el("span", { className: "what", title: metric.description }, el("b", {}, metric.name || "(no name)"), el("small", { title: `${metric.scope} ${metric.instance}`.trim() }, dot(metric.service), metric.service, metric.instance ? ` · ${String(metric.instance).slice(0, 8)}` : "")),
    el("span", { className: "labels" }, ...attributes), el("span", { className: "kind" }, metric.kind, metric.unit ? el("small", {}, metric.unit) : ""), value(metric),
    metric.counts?.length ? el("span", { title: buckets(metric) }, histogram("Buckets", metric.counts)) : el("span", {}), el("span", { className: "exemplars" }, ...exemplars), el("time", {}, clock(metric.time / 1e6)));
}

function value(metric) {
  if (metric.count === undefined) return el("span", { className: "number" }, quantity(metric.value, metric.unit));
  const mean = metric.count && Number.isFinite(metric.sum) ? quantity(metric.sum / metric.count, metric.unit) : "–";
  const extremes = metric.min === undefined ? "" : `${quantity(metric.min, metric.unit)} to ${quantity(metric.max, metric.unit)}`;
  return el("span", { className: "number" }, `${metric.count.toLocaleString("en")} × ${mean}`, el("small", {}, extremes));
}

function quantity(number, unit) {
  if (typeof number !== "number") return number === null || number === undefined ? "–" : String(number);
  if (SECONDS[unit] && number >= 0) return duration(number * SECONDS[unit]);
  return number.toLocaleString("en", { maximumSignificantDigits: 6 });
}

function buckets({ bounds, counts, unit }) {
  return counts.flatMap((count, index) => (count ? [`${index < bounds.length ? `≤ ${quantity(bounds[index], unit)}` : `> ${quantity(bounds[index - 1], unit)}`}: ${count}`] : [])).join("\n");
}
