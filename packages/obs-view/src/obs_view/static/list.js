// The list of traces: search, live.

import { clock, colour, dot, duration, el, fetchJson, plural } from "./dom.js";

const EVERY_MS = 1000;
const WITHIN = [["", "any time"], ["60000", "last minute"], ["600000", "last 10 min"], ["3600000", "last hour"]];

export class ListView {
  constructor(main, query) {
    this.query = query;
    this.selected = 0;
    this.traces = [];
    this.after = null;
    this.search = el("input", { type: "search", id: "search", value: query.get("q") || "", placeholder: "Search: words, or key=value", ariaLabel: "Search", oninput: () => this.later() });
    this.service = el("select", { ariaLabel: "Service", onchange: () => this.changed() }, el("option", { value: "" }, "all services"));
    this.status = el("select", { ariaLabel: "Status", onchange: () => this.changed() },
      ...[["", "any status"], ["error", "with errors"], ["ok", "without errors"]].map(([value, text]) => el("option", { value }, text)));
    this.status.value = query.get("status") || "";
    this.within = el("select", { ariaLabel: "Time", onchange: () => this.changed() }, ...WITHIN.map(([value, text]) => el("option", { value }, text)));
    this.within.value = query.get("within") || "";
    this.min = el("input", { type: "text", className: "short", value: query.get("min") || "", placeholder: "min 250ms", ariaLabel: "Least duration", oninput: () => this.later() });
    this.max = el("input", { type: "text", className: "short", value: query.get("max") || "", placeholder: "max 2s", ariaLabel: "Greatest duration", oninput: () => this.later() });
    this.clear = el("button", { title: "Forget all traces", onclick: () => this.forget() }, "Clear");
    this.note = el("p", { className: "note", role: "status" });
    this.rows = el("div", { className: "traces", role: "listbox", ariaLabel: "Traces", tabIndex: 0 });
    main.replaceChildren(el("div", { className: "bar-of-filters" }, this.search, this.service, this.status, this.within, this.min, this.max, this.clear), this.note, this.rows);
    this.timer = setInterval(() => this.load(), EVERY_MS);
    this.load();
  }

  close() {
    clearInterval(this.timer);
    clearTimeout(this.typing);
    this.closed = true;
  }

  later() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.changed(), 200);
  }

  changed() {
    const fields = { q: this.search.value, service: this.service.value, status: this.status.value, within: this.within.value, min: this.min.value, max: this.max.value };
    this.query = new URLSearchParams(Object.entries(fields).filter(([, value]) => value));
    history.replaceState(null, "", "#/" + (this.query.size ? "?" + this.query : ""));
    this.after = null;
    this.selected = 0;
    this.load();
  }

  async load() {
    const query = new URLSearchParams(this.query);
    const within = query.get("within");
    query.delete("within");
    if (within) query.set("since", Date.now() - within);
    else if (this.after !== null) query.set("after", this.after);
    const asked = (this.asked = (this.asked || 0) + 1);
    try {
      const found = await fetchJson("/api/traces?" + query);
      if (found && !this.closed && asked === this.asked) this.show(found);
    } catch (error) {
      if (!this.closed) this.note.textContent = error instanceof TypeError ? "obs-view has stopped." : error.message;
    }
  }

  show(found) {
    this.after = found.sequence;
    const kept = this.traces[this.selected]?.id;
    this.traces = found.traces;
    this.selected = Math.max(0, this.traces.findIndex((trace) => trace.id === kept));
    const wanted = this.query.get("service") || "";
    const services = [...new Set([...found.services, ...(wanted ? [wanted] : [])])];
    this.service.replaceChildren(el("option", { value: "" }, "all services"), ...services.map((name) => el("option", { value: name }, name)));
    this.service.value = wanted;
    document.getElementById("state").textContent = plural(found.count, "span") + (found.evicted ? `, ${found.evicted.toLocaleString("en")} forgotten` : "");
    const shown = found.total > this.traces.length ? `, the latest ${this.traces.length} shown` : "";
    this.note.textContent = found.total ? plural(found.total, "trace") + shown : "";
    const longest = Math.max(1, ...this.traces.map((trace) => trace.duration));
    this.rows.replaceChildren(...(this.traces.length ? this.traces.map((trace, index) => this.row(trace, index, longest)) : [this.empty(found)]));
    this.mark();
  }

  row(trace, index, longest) {
    const services = Object.entries(trace.services);
    return el("a", { className: "trace" + (trace.errors ? " failed" : ""), href: `#/trace/${trace.id}`, role: "option", onfocus: () => this.select(index) },
      el("span", { className: "name" }, trace.errors ? el("b", { className: "cross", title: plural(trace.errors, "error") }, "✗ ") : null, trace.name || "(no name)", trace.complete ? null : el("small", {}, " root not here yet")),
      el("span", { className: "chips" }, ...services.map(([name, count]) => el("span", { className: "chip", title: plural(count, "span") }, dot(name), name))),
      el("span", { className: "count" }, plural(trace.spans, "span")),
      el("span", { className: "length" }, el("i", { style: { width: `${(100 * trace.duration) / longest}%`, background: colour(trace.service) } }), el("span", {}, duration(trace.duration))),
      el("time", {}, clock(trace.start)));
  }

  empty(found) {
    if (found.count) return el("p", { className: "empty" }, "No trace fits the search.");
    const url = `${location.protocol}//${location.host}`;
    return el("div", { className: "empty" }, el("h2", {}, "Waiting for traces"), el("p", {}, "Point any OpenTelemetry exporter here:"),
      el("pre", {}, `OTEL_EXPORTER_OTLP_ENDPOINT=${url} OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`));
  }

  select(index) {
    this.selected = Math.max(0, Math.min(index, this.traces.length - 1));
    this.mark();
  }

  mark() {
    [...this.rows.children].forEach((row, index) => row.setAttribute("aria-selected", index === this.selected));
  }

  async forget() {
    await fetch("/api/traces", { method: "DELETE" });
    this.after = null;
    this.load();
  }

  key(event) {
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (step) {
      this.select(this.selected + step);
      this.rows.children[this.selected]?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter" && this.traces[this.selected]) location.hash = `#/trace/${this.traces[this.selected].id}`;
    else if (event.key === "/") this.search.focus();
    else if (event.key === "e") { this.status.value = this.status.value ? "" : "error"; this.changed(); }
    else return false;
    return true;
  }
}
