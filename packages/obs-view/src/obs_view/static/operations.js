// Rates, errors and percentiles by operation, and the map of who calls whom.

import { clock, dot, duration, el, logarithmic, plural } from "./dom.js";
import { Filters, select } from "./filters.js";
import { histogram } from "./histogram.js";
import { serviceMap } from "./map.js";
import { remember, remembered } from "./settings.js";

const COLUMNS = [["name", "Operation"], ["count", "Count"], ["rate", "Rate"], ["share", "Errors"], ["p50", "p50"], ["p95", "p95"], ["p99", "p99"], ["total", "Total"], [null, "Over time"]];
const KINDS = [["entry", "entry points"], ["all", "all kinds"], ["SERVER", "server"], ["CLIENT", "client"], ["PRODUCER", "producer"], ["CONSUMER", "consumer"], ["INTERNAL", "internal"]];

export class OperationsView {
  constructor(query, address) {
    this.search = el("input", { type: "search", id: "search", placeholder: "Operations whose name contains …", ariaLabel: "Search" });
    const controls = { q: this.search, service: select("Service", [["", "all services"]]), kind: select("Kind", KINDS) };
    this.sort = remembered("operations", "total");
    this.note = el("span", { role: "status" });
    this.table = el("div", { className: "table" });
    this.picture = el("div", {});
    this.map = el("details", { className: "map-of-all", open: remembered("map", true), ontoggle: (event) => remember("map", event.target.open) }, el("summary", {}, "Map"), this.picture);
    this.body = el("div", { className: "traces operations" }, this.map, this.table);
    this.filters = new Filters("operations", "/api/operations", query, address, controls, { load: (found) => this.load(found), fail: (message) => { this.note.textContent = message; this.note.className = "cross"; } });
    controls.kind.value = query.get("kind") || "entry";
    this.kind = controls.kind;
    const { within, since, until } = this.filters;
    this.element = el("section", { className: "view" }, el("div", { className: "bar-of-filters" }, this.search, controls.service, controls.kind, within, since, until), el("p", { className: "note" }, this.note), this.body);
  }

  address() { return this.filters.address(); }
  close() { this.top = this.body.scrollTop; this.filters.close(); }
  open() { this.filters.open(); }
  shown() { this.body.scrollTop = this.top || 0; }

  load(found) {
    this.found = found;
    this.note.className = "";
    this.filters.services(found.services);
    this.show();
  }

  show() {
    const { found } = this, top = this.body.scrollTop;
    const text = this.search.value.toLowerCase(), kind = this.kind.value;
    const rows = found.operations.map((row) => ({ ...row, share: row.errors / row.count }))
      .filter((row) => (kind === "all" || (kind === "entry" ? ["SERVER", "CONSUMER"].includes(row.kind) : row.kind === kind)) && row.name.toLowerCase().includes(text));
    rows.sort((one, other) => (this.sort === "name" ? one.name.localeCompare(other.name) : other[this.sort] - one[this.sort]));
    this.note.textContent = found.spans ? `${plural(rows.length, "operation")} of ${found.total.toLocaleString("en")}, ${plural(found.spans, "span")} since ${clock(found.from)}` : "";
    this.map.hidden = !found.map.edges.length;
    const facts = JSON.stringify(found.map);
    if (found.map.nodes.length && facts !== this.drawn) this.picture.replaceChildren(serviceMap(found.map));
    this.drawn = facts;
    const slowest = Math.max(1, ...rows.map((row) => row.p99));
    this.table.replaceChildren(...(rows.length ? [this.head(), ...rows.map((row) => this.row(row, slowest))] : [el("p", { className: "empty" }, found.spans ? "No operation fits." : "No spans have come yet.")]));
    this.body.scrollTop = top;
  }

  head() {
    return el("div", { className: "operation head" }, ...COLUMNS.map(([key, text]) => (key ? el("button", { className: `sort ${key}`, ariaPressed: String(key === this.sort), onclick: () => { this.sort = key; remember("operations", key); this.show(); } }, text, key === this.sort ? " ↓" : "") : el("span", {}, text))));
  }

  row(row, slowest) {
    const query = new URLSearchParams({ q: `name=${JSON.stringify(row.name)} service=${JSON.stringify(row.service)}` });
    const time = (key) => el("span", { className: "number" }, duration(row[key]), key === "p95" ? el("i", { className: "meter", style: { width: `${logarithmic(row[key], slowest)}%` } }) : "");
    return el("a", { className: "operation" + (row.errors ? " failed" : ""), href: `#/?${query}`, title: `Traces with ${row.name}` },
      el("span", { className: "what" }, el("b", { title: row.name }, row.name || "(no name)"), el("small", {}, dot(row.service), row.service, row.kind === "INTERNAL" ? "" : ` · ${row.kind.toLowerCase()}`)),
      el("span", { className: "number" }, row.count.toLocaleString("en")),
      el("span", { className: "number" }, row.rate === null ? "–" : rate(row.rate)),
      el("span", { className: row.errors ? "number cross" : "number" }, row.errors ? `${percent(row.share)} (${row.errors.toLocaleString("en")})` : "0"),
      time("p50"), time("p95"), time("p99"), time("total"), histogram("Spans over time", row.counts, row.failures));
  }

  key(event) {
    if (event.key === "/") this.search.focus();
    else if (event.key === "Escape") location.hash = "#/";
    else return false;
    return true;
  }
}

function rate(value) {
  return value >= 1 ? `${value.toFixed(value < 10 ? 1 : 0)}/s` : value * 60 >= 1 ? `${(value * 60).toFixed(1)}/min` : `${(value * 3600).toFixed(1)}/h`;
}

function percent(share) {
  const value = 100 * share;
  return `${value >= 10 || value === 0 ? value.toFixed(0) : value.toFixed(1)} %`;
}
