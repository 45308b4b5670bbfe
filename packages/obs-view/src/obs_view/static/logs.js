// Log records: the list of all, and a line of one.

import { copyButton } from "./copy.js";
import { clock, dot, el, plural } from "./dom.js";
import { Filters, select } from "./filters.js";

const PAGE = 200;
const LEVELS = [["", "any level"], ["debug", "debug and worse"], ["info", "info and worse"], ["warn", "warnings and worse"], ["error", "errors"]];

export function logLine(log, time, before = "") {
  const attributes = Object.entries(log.attributes || {});
  const grade = log.severity >= 17 ? "bad" : log.severity >= 13 ? "warn" : log.severity >= 9 ? "" : "faint";
  return el("details", { className: `log ${grade}` },
    el("summary", {}, el("time", {}, time), el("b", { className: "level" }, log.level || "LOG"), before, el("span", { className: "body" }, log.body || "(empty)")),
    el("div", { className: "more" }, el("pre", {}, log.body), copyButton(log.body, "Copy text"),
      attributes.length ? el("dl", {}, ...attributes.flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, typeof value === "string" ? value : JSON.stringify(value))])) : ""));
}

export class LogsView {
  constructor(query, address) {
    this.search = el("input", { type: "search", id: "search", placeholder: "Search: words, \"a phrase\", key=value, a trace's id, -word", ariaLabel: "Search" });
    const controls = { q: this.search, service: select("Service", [["", "all services"]]), level: select("Level", LEVELS) };
    this.note = el("span", { role: "status" });
    this.pages = el("span", { className: "pages" });
    this.news = el("button", { className: "news", hidden: true, onclick: () => { this.rows.scrollTop = 0; this.show(this.waiting); } });
    this.rows = el("div", { className: "traces logs", tabIndex: 0, ariaLabel: "Logs", onpointerenter: () => { this.inside = true; }, onpointerleave: () => { this.inside = false; } });
    this.filters = new Filters("logs", "/api/logs", query, address, controls, { load: (found, fresh) => this.load(found, fresh), fail: (message) => { this.note.textContent = message; this.note.className = "cross"; } });
    const { within, since, until } = this.filters;
    this.element = el("section", { className: "view" }, el("div", { className: "bar-of-filters" }, this.search, controls.service, controls.level, within, since, until),
      el("p", { className: "note" }, this.note, this.news, el("span", { className: "space" }), this.pages), this.rows);
  }

  address() { return this.filters.address(); }
  close() { this.top = this.rows.scrollTop; this.filters.close(); }
  open() { this.filters.open(); }
  shown() { this.rows.scrollTop = this.top || 0; }

  load(found, fresh) {
    this.note.className = "";
    this.filters.services(found.services);
    document.getElementById("state").textContent = plural(found.count, "log record");
    const held = this.inside || this.rows.scrollTop > 0 || this.rows.querySelector("details[open]");
    if (this.found?.logs.length && held && !fresh) {
      this.waiting = found;
      this.news.hidden = found.total <= this.found.total;
      this.news.textContent = `↑ ${plural(found.total - this.found.total, "new record")}`;
    } else this.show(found);
  }

  show(found) {
    this.found = found;
    this.news.hidden = true;
    this.note.textContent = found.total ? plural(found.total, "record") + (found.total > found.logs.length ? `, ${found.offset + 1}–${found.offset + found.logs.length} shown` : "") : "";
    const page = (step, text) => el("button", { className: "quiet", onclick: () => { this.rows.scrollTop = 0; this.filters.set("offset", String(Math.max(0, found.offset + step) || "")); } }, text);
    this.pages.replaceChildren(...(found.offset ? [page(-PAGE, "‹ Previous")] : []), ...(found.total > found.offset + PAGE ? [page(PAGE, "Next ›")] : []));
    this.rows.replaceChildren(...(found.logs.length ? found.logs.map((log) => this.line(log)) : [el("p", { className: "empty" }, found.count ? "No log record fits the search." : "No log records have come. An obs service sends them with TracingConfig(logs=True); any OTLP exporter for logs does.")]));
  }

  line(log) {
    const place = log.trace ? el("a", { className: "jump", href: `#/trace/${log.trace}${log.span ? "/" + log.span : ""}`, title: `The span of trace ${log.trace}`, onclick: (event) => event.stopPropagation() }, log.trace.slice(0, 8)) : el("span", { className: "jump" });
    const source = el("span", { className: "source" }, el("span", { className: "chip" }, dot(log.service), log.service), place);
    return logLine(log, clock(log.time / 1e6), source);
  }

  key(event) {
    if (event.key === "/") this.search.focus();
    else if (event.key === "Escape") location.hash = "#/";
    else return false;
    return true;
  }
}
