// One trace: a waterfall with a collapsible tree. Only the rows that can be seen are in the document.

import { Details } from "./details.js";
import { clock, colour, dot, duration, el, fetchJson, plural } from "./dom.js";
import { serviceMap } from "./map.js";

const EVERY_MS = 2000;
const OVERSCAN = 8;
const MAX_INDENT = 24;
const narrow = matchMedia("(max-width: 700px)");

export class TraceView {
  constructor(main, id, span, query) {
    Object.assign(this, { main, id, wanted: span, merged: query.get("linked") === "true", path: true, collapsed: new Set(), found: new Set() });
    this.header = el("section", { className: "summary" });
    this.canvas = el("div", { className: "canvas" });
    this.scroller = el("div", { className: "rows", role: "tree", tabIndex: 0, ariaLabel: "Spans", onscroll: () => this.draw() }, this.canvas);
    this.scale = el("div", { className: "scale" });
    this.details = new Details((trace, identity) => this.jump(trace, identity), () => this.select(null));
    this.find = el("input", { type: "search", placeholder: "Find in trace", ariaLabel: "Find in trace", oninput: () => this.seek(), onkeydown: (event) => event.key === "Enter" && this.next((row) => this.found.has(row.id)) });
    main.replaceChildren(this.header, el("div", { className: "split" }, el("div", { className: "waterfall" }, this.scale, this.scroller), this.details.element));
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.scroller);
    this.timer = setInterval(() => this.load(), EVERY_MS);
    this.load();
  }

  close() {
    clearInterval(this.timer);
    this.resized.disconnect();
    this.closed = true;
  }

  async load() {
    const after = this.trace ? `&after=${this.trace.sequence}` : "";
    try {
      const trace = await fetchJson(`/api/traces/${encodeURIComponent(this.id)}?linked=${this.merged}${after}`);
      if (trace && !this.closed) this.show(trace);
    } catch (error) {
      if (!this.trace) this.main.replaceChildren(el("div", { className: "empty" }, el("h2", {}, "Not here"), el("p", {}, error.message), el("a", { href: "#/" }, "All traces")));
    }
  }

  show(trace) {
    this.trace = trace;
    this.rows = trace.rows;
    this.byId = new Map(this.rows.map((row) => [row.id, row]));
    this.rows.forEach((row, index) => { row.parental = this.rows[index + 1]?.depth > row.depth; });
    this.total = Math.max(1, trace.duration);
    this.summarise();
    this.ticks();
    this.unfold();
    if (this.wanted && this.byId.has(this.wanted)) this.select(this.wanted, true);
    else if (this.selected) this.select(this.selected);
    this.wanted = null;
  }

  summarise() {
    const trace = this.trace;
    const toggle = (text, pressed, key, action) => el("button", { ariaPressed: String(pressed), title: `Key: ${key}`, onclick: action }, text);
    const counts = new Map();
    for (const row of this.rows) counts.set(row.service, (counts.get(row.service) || 0) + 1);
    this.header.replaceChildren(
      el("h1", { className: trace.errors ? "failed" : "" }, el("a", { href: "#/", title: "All traces (Esc)", className: "back" }, "‹"), " ", trace.name || "(no name)"),
      el("p", { className: "facts" }, el("b", {}, duration(trace.duration)), ` · ${plural(trace.spans, "span")} · ${plural(trace.services.length, "service")}`,
        trace.errors ? el("b", { className: "cross" }, ` · ${plural(trace.errors, "error")}`) : null, trace.missing ? ` · ${plural(trace.missing, "parent")} not here` : null, ` · ${clock(trace.start)}`),
      el("p", { className: "ids" }, "trace ", el("code", {}, trace.id), ...trace.correlation.flatMap((value) => [" · correlation ", el("code", {}, value)])),
      el("p", { className: "chips" }, ...[...counts].map(([name, count]) => el("span", { className: "chip" }, dot(name), `${name} ${count}`))),
      el("div", { className: "tools" }, this.find,
        trace.errors ? el("button", { title: "Key: e", onclick: () => this.next((row) => row.status === "ERROR") }, "Next error") : null,
        toggle("Critical path", this.path, "p", () => this.togglePath()),
        el("button", { onclick: () => { this.collapsed.clear(); this.unfold(); } }, "Expand all"),
        el("button", { onclick: () => { this.collapsed = new Set(this.rows.filter((row) => row.parental).map((row) => row.id)); this.unfold(); } }, "Collapse all"),
        trace.linked.length ? toggle(this.merged ? "Linked traces as one" : `Show ${plural(trace.linked.length, "linked trace")} as one`, this.merged, "l", () => this.toggleLinked()) : null,
        el("a", { className: "button", href: `/api/traces/${trace.id}/otlp`, download: `trace-${trace.id}.json`, title: "OTLP-JSON, for a bug report" }, "Export")),
      this.merged ? "" : this.linkedTraces(),
      trace.services.length > 1 ? el("details", { className: "map", open: this.mapOpen, ontoggle: (event) => { this.mapOpen = event.target.open; } }, el("summary", {}, "Service map"), serviceMap(this.rows)) : "");
  }

  linkedTraces() {
    if (!this.trace.linked.length) return "";
    return el("p", { className: "linked" }, "Linked: ", ...this.trace.linked.map((other) => el("a", { href: `#/trace/${other.id}` }, dot(other.service), `${other.name} `, el("small", {}, duration(other.duration)))));
  }

  ticks() {
    const marks = narrow.matches ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1];
    this.scale.replaceChildren(el("span", {}), el("div", {}, ...marks.map((part) => el("span", { style: { left: `${part * 100}%` } }, part ? duration(this.total * part) : "0"))));
  }

  unfold() {
    this.visible = [];
    let hidden = Infinity;
    for (const row of this.rows) {
      if (row.depth > hidden) continue;
      hidden = this.collapsed.has(row.id) ? row.depth : Infinity;
      this.visible.push(row);
    }
    this.draw();
  }

  get rowHeight() {
    return narrow.matches ? 44 : 26;
  }

  draw() {
    if (!this.visible) return;
    const height = this.rowHeight;
    this.canvas.style.height = `${this.visible.length * height}px`;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / height) - OVERSCAN);
    const last = Math.min(this.visible.length, Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / height) + OVERSCAN);
    this.canvas.replaceChildren(...this.visible.slice(first, last).map((row, index) => this.row(row, (first + index) * height)));
  }

  row(row, top) {
    const failed = row.status === "ERROR";
    const folded = this.collapsed.has(row.id);
    const classes = ["row", failed && "failed", row.id === this.selected && "selected", this.found.has(row.id) && "hit", this.path && row.path && "critical"];
    const left = Math.min(100, (100 * row.start) / this.total);
    const width = Math.min(100 - left, (100 * row.duration) / this.total);
    const fill = failed ? "var(--error)" : colour(row.service);
    return el("div", { className: classes.filter(Boolean).join(" "), role: "treeitem", ariaLevel: String(row.depth + 1), ariaSelected: String(row.id === this.selected), ariaExpanded: row.parental ? String(!folded) : null, style: { top: `${top}px`, height: `${this.rowHeight}px` }, onclick: () => this.select(row.id) },
      el("div", { className: "label", style: { paddingLeft: `${Math.min(row.depth, MAX_INDENT) * (narrow.matches ? 8 : 14)}px` } },
        row.parental ? el("button", { className: "twist", tabIndex: -1, ariaLabel: folded ? "Expand" : "Collapse", onclick: (event) => { event.stopPropagation(); this.fold(row, !folded); } }, folded ? "▸" : "▾") : el("span", { className: "twist" }),
        dot(row.service), failed ? el("b", { className: "cross" }, "✗ ") : null,
        el("span", { className: "name", title: `${row.service}: ${row.name}` }, row.name || "(no name)"),
        row.attributes["http.response.status_code"] === undefined ? null : el("small", {}, String(row.attributes["http.response.status_code"])),
        row.attempt ? el("small", { className: "attempt" }, `attempt ${row.attempt}`) : null,
        row.links || row.linked_from ? el("small", { title: "has links" }, "↪") : null,
        row.early ? el("small", { className: "attempt", title: `starts ${duration(row.early)} before its parent: the clocks differ` }, "clock") : null,
        el("span", { className: "service" }, row.service)),
      el("div", { className: "track" },
        el("i", { className: "bar", style: { left: `${left}%`, width: `${width}%`, background: fill } }),
        ...(this.path && row.path ? row.path : []).map(([from, to]) => el("i", { className: "on-path", style: { left: `${(100 * from) / this.total}%`, width: `${(100 * (to - from)) / this.total}%` } })),
        ...(row.events || []).slice(0, 20).map((event) => el("i", { className: event.name === "exception" ? "event bad" : "event", title: event.name, style: { left: `${Math.max(0, Math.min(100, (100 * event.time) / this.total))}%` } })),
        this.took(row, left, left + width)));
  }

  // The duration stands right of its bar, or left of it, or in it where both sides are full.
  took(row, left, right) {
    const text = duration(row.duration);
    if (right < 80) return el("span", { className: "took", style: { left: `${right}%` } }, text);
    if (left > 20) return el("span", { className: "took", style: { right: `${100 - left}%` } }, text);
    return el("span", { className: "took inside", style: { right: `${100 - right}%` } }, text);
  }

  fold(row, folded) {
    if (folded) this.collapsed.add(row.id);
    else this.collapsed.delete(row.id);
    this.unfold();
  }

  reveal(id) {
    for (let row = this.byId.get(id), guard = 0; row && guard < this.rows.length; row = this.byId.get(row.parent), guard++) if (row.id !== id) this.collapsed.delete(row.id);
    this.unfold();
    const top = this.visible.findIndex((row) => row.id === id) * this.rowHeight;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop || top + this.rowHeight > scrollTop + clientHeight) this.scroller.scrollTop = Math.max(0, top - clientHeight / 3);
    this.draw();
  }

  select(id, reveal = false) {
    this.selected = id;
    const row = this.byId.get(id);
    this.details.show(row, this.trace);
    history.replaceState(null, "", `#/trace/${this.id}${row ? "/" + id : ""}${this.merged ? "?linked=true" : ""}`);
    if (row && reveal) this.reveal(id);
    else this.draw();
  }

  jump(trace, identity) {
    if (this.byId.has(identity)) this.select(identity, true);
    else location.hash = `#/trace/${trace}/${identity}`;
  }

  next(fits) {
    const here = this.rows.findIndex((row) => row.id === this.selected);
    const row = [...this.rows.slice(here + 1), ...this.rows.slice(0, here + 1)].find(fits);
    if (row) this.select(row.id, true);
  }

  seek() {
    const text = this.find.value.toLowerCase();
    const fits = (row) => `${row.name} ${row.service} ${JSON.stringify(row.attributes)}`.toLowerCase().includes(text);
    this.found = new Set(text ? this.rows.filter(fits).map((row) => row.id) : []);
    this.draw();
  }

  togglePath() {
    this.path = !this.path;
    this.summarise();
    this.draw();
  }

  toggleLinked() {
    location.hash = `#/trace/${this.id}${this.merged ? "" : "?linked=true"}`;
  }

  key(event) {
    if (!this.trace) return event.key === "Escape" && this.back();
    const here = this.visible.findIndex((row) => row.id === this.selected);
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: 15, PageUp: -15 }[event.key];
    const row = this.visible[here];
    if (step) this.select(this.visible[Math.max(0, Math.min(here + step, this.visible.length - 1))].id, true);
    else if (event.key === "ArrowLeft" && row) row.parental && !this.collapsed.has(row.id) ? this.fold(row, true) : this.byId.has(row.parent) && this.select(row.parent, true);
    else if (event.key === "ArrowRight" && row) this.fold(row, false);
    else if (event.key === "e") this.next((item) => item.status === "ERROR");
    else if (event.key === "p") this.togglePath();
    else if (event.key === "l" && this.trace.linked.length) this.toggleLinked();
    else if (event.key === "/") this.find.focus();
    else if (event.key === "Escape") this.selected ? this.select(null) : this.back();
    else return false;
    return true;
  }

  back() {
    location.hash = "#/";
    return true;
  }
}
