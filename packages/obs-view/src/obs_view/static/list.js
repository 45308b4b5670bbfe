// The list of traces: search, live. What is shown stays where it is while the reader is in it.

import { clock, colour, dot, duration, el, logarithmic, plural } from "./dom.js";
import { empty } from "./empty.js";
import { Filters, select } from "./filters.js";

const PAGE = 200;
const SORTS = [["spans", "Spans"], ["errors", "Errors"], ["duration", "Duration"], ["start", "Start"]];

export class ListView {
  constructor(query, address) {
    this.traces = [];
    this.selected = 0;
    this.search = el("input", { type: "search", id: "search", placeholder: "Search: words, \"a phrase\", key=value, duration>250ms, -word", ariaLabel: "Search" });
    const controls = {
      q: this.search, service: select("Service", [["", "all services"]]), status: select("Status", [["", "any status"], ["error", "with errors"], ["ok", "without errors"]]),
      min: el("input", { type: "text", className: "short", placeholder: "min 250ms", ariaLabel: "Least duration" }), max: el("input", { type: "text", className: "short", placeholder: "max 2s", ariaLabel: "Greatest duration" }),
    };
    this.status = controls.status;
    this.note = el("span", { role: "status" });
    this.news = el("button", { className: "news", hidden: true, onclick: () => this.takeNews() });
    this.pages = el("span", { className: "pages" });
    this.head = el("div", { className: "columns" });
    this.rows = el("div", { className: "traces", role: "listbox", ariaLabel: "Traces", tabIndex: 0, onpointerenter: () => { this.inside = true; }, onpointerleave: () => { this.inside = false; this.settle(); }, onscroll: () => { this.top = this.rows.scrollTop; this.settle(); } });
    this.filters = new Filters("", "/api/traces", query, address, controls, { load: (found, fresh) => this.load(found, fresh), fail: (message) => { this.note.textContent = message; this.note.className = "cross"; } });
    const { service, status, min, max } = controls, { within, since, until } = this.filters;
    this.element = el("section", { className: "view" },
      el("div", { className: "bar-of-filters" }, this.search, service, status, within, since, until, min, max, el("button", { title: "Forget all traces and logs", onclick: () => this.forget() }, "Clear")),
      el("p", { className: "note" }, this.note, this.news, el("span", { className: "space" }), this.pages), this.head, this.rows);
    this.comparing = sessionStorage.getItem("compare");
    this.banner();
  }

  address() { return this.filters.address(); }
  close() { this.filters.close(); }
  open() { this.filters.open(); this.comparing = sessionStorage.getItem("compare"); this.banner(); }
  shown() { this.rows.scrollTop = this.top || 0; }

  // The reader is in the list: no row may move under the pointer, the scroll or the selection.
  get held() { return this.inside || this.rows.scrollTop > 0 || this.selected > 0; }

  load(found, fresh) {
    this.found = found;
    this.note.className = "";
    this.filters.services(found.services);
    document.getElementById("state").textContent = plural(found.count, "span") + (found.evicted ? `, ${found.evicted.toLocaleString("en")} forgotten` : "");
    if (fresh) this.selected = 0;
    const known = new Map(found.traces.map((trace) => [trace.id, trace]));
    const same = this.traces.length && found.traces.length && this.traces.every((trace) => known.has(trace.id));
    if (fresh || !same || !this.held) return this.show(found.traces);
    this.waiting = found.traces;
    this.show(this.traces.map((trace) => known.get(trace.id)), true);
    const fresher = found.traces.length - this.traces.length;
    this.news.hidden = found.traces.every((trace, index) => trace.id === this.traces[index]?.id);
    this.news.textContent = fresher > 0 ? `↑ ${plural(fresher, "new trace")}` : "↑ New traces";
  }

  settle() {
    if (this.waiting && !this.held) this.takeNews();
  }

  takeNews() {
    if (!this.waiting) return;
    this.selected = 0;
    this.rows.scrollTop = 0;
    this.show(this.waiting);
  }

  show(traces, kept = false) {
    if (!kept) Object.assign(this, { waiting: null });
    if (!kept) this.news.hidden = true;
    this.traces = traces;
    const { found } = this, last = found.offset + traces.length;
    this.note.textContent = found.total ? plural(found.total, "trace") + (found.total > traces.length ? `, ${found.offset + 1}–${last} shown` : "") : "";
    this.pages.replaceChildren(
      ...(found.offset ? [el("button", { className: "quiet", onclick: () => this.page(-PAGE) }, "‹ Previous")] : []),
      ...(found.total > found.offset + PAGE ? [el("button", { className: "quiet", onclick: () => this.page(PAGE) }, "Next ›")] : []));
    this.headings();
    const longest = Math.max(1, ...traces.map((trace) => trace.duration));
    const before = this.drawn || new Map();
    this.drawn = new Map(traces.map((trace) => {
      const facts = JSON.stringify([trace, longest]);
      const old = before.get(trace.id);
      return [trace.id, old?.facts === facts ? old : { facts, element: this.row(trace, longest) }];
    }));
    const wanted = traces.length ? [...this.drawn.values()].map((item) => item.element) : [found.count ? el("p", { className: "empty" }, "No trace fits the search.") : this.waitingFor()];
    if (wanted.length !== this.rows.children.length || wanted.some((element, index) => element !== this.rows.children[index])) {
      const top = this.rows.scrollTop, focused = this.rows.contains(document.activeElement) && document.activeElement;
      this.rows.replaceChildren(...wanted);
      this.rows.scrollTop = top;
      if (focused && focused.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
    }
    this.selected = Math.min(this.selected, Math.max(0, traces.length - 1));
    this.mark();
  }

  waitingFor() {
    return (this.emptiness ||= empty());
  }

  page(step) {
    this.rows.scrollTop = 0;
    const offset = this.found.offset + step;
    this.filters.set("offset", offset > 0 ? String(offset) : "");
  }

  headings() {
    const sort = this.filters.query.get("sort") || "start";
    if (this.sorted === sort || !this.traces.length) {
      this.head.hidden = !this.traces.length;
      return;
    }
    Object.assign(this, { sorted: sort });
    this.head.hidden = false;
    this.head.replaceChildren(el("span", {}, "Trace"), el("span", { className: "chips" }, "Services"), ...SORTS.map(([key, text]) =>
      el("button", { className: `sort ${key}`, ariaPressed: String(key === sort), title: `Sort by ${text.toLowerCase()}, greatest first`, onclick: () => this.filters.set("sort", key === "start" ? "" : key) }, text, key === sort ? " ↓" : "")));
  }

  row(trace, longest) {
    const services = Object.entries(trace.services);
    return el("a", { className: "trace" + (trace.errors ? " failed" : ""), href: `#/trace/${trace.id}`, role: "option", onfocus: () => this.select(this.traces.findIndex((item) => item.id === trace.id)), onclick: (event) => this.chosen(event, trace.id) },
      el("span", { className: "name", title: trace.name }, trace.errors ? el("b", { className: "cross", title: plural(trace.errors, "error") }, "✗ ") : null, trace.name || "(no name)", trace.complete ? null : el("small", {}, " root not here yet")),
      el("span", { className: "chips" }, ...services.map(([name, count]) => el("span", { className: "chip", title: plural(count, "span") }, dot(name), name))),
      el("span", { className: "count" }, trace.spans.toLocaleString("en"), el("small", { className: "unit" }, trace.spans === 1 ? " span" : " spans")),
      el("span", { className: trace.errors ? "count errors cross" : "count errors" }, trace.errors ? trace.errors.toLocaleString("en") : "", trace.errors ? el("small", { className: "unit" }, trace.errors === 1 ? " error" : " errors") : null),
      el("span", { className: "length", title: "on a logarithmic scale" }, el("span", {}, duration(trace.duration)), el("i", { style: { width: `${logarithmic(trace.duration, longest)}%`, background: colour(trace.service) } })),
      el("time", { title: new Date(trace.start).toLocaleString() }, clock(trace.start)));
  }

  chosen(event, id) {
    if (!this.comparing || this.comparing === id) return;
    event.preventDefault();
    sessionStorage.removeItem("compare");
    location.hash = `#/compare/${this.comparing}/${id}`;
  }

  banner() {
    this.strip?.remove();
    if (!this.comparing) return;
    this.strip = el("p", { className: "strip" }, "Choose the trace to compare with ", el("code", {}, this.comparing.slice(0, 8)), ".", el("button", { className: "quiet", onclick: () => { sessionStorage.removeItem("compare"); this.comparing = null; this.banner(); } }, "Cancel"));
    this.head.before(this.strip);
  }

  select(index) {
    this.selected = Math.max(0, Math.min(index, this.traces.length - 1));
    this.mark();
  }

  mark() {
    const row = this.traces.length ? this.rows.children[this.selected] : null;
    if (row === this.marked && row?.ariaSelected === "true") return;
    if (this.marked) this.marked.ariaSelected = "false";
    if (row) row.ariaSelected = "true";
    this.marked = row;
  }

  async forget() {
    await fetch("/api/traces", { method: "DELETE" });
    this.filters.after = null;
    this.filters.refresh();
  }

  key(event) {
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: 15, PageUp: -15 }[event.key];
    if (step) {
      this.select(this.selected + step);
      this.marked?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter" && this.traces[this.selected]) this.marked.click();
    else if (event.key === "/") this.search.focus();
    else if (event.key === "e") { this.status.value = this.status.value ? "" : "error"; this.filters.changed(); }
    else if (event.key === "Escape" && this.comparing) { sessionStorage.removeItem("compare"); this.comparing = null; this.banner(); }
    else return false;
    return true;
  }
}
