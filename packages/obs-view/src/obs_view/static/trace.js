// One trace: a waterfall, a flame chart, its logs, its map; what is found, selected and zoomed is the same in all.

import { copyButton } from "./copy.js";
import { Details } from "./details.js";
import { clock, dot, duration, el, fetchJson, plural, tab } from "./dom.js";
import { Finder } from "./find.js";
import { Flame } from "./flame.js";
import { logLine } from "./logs.js";
import { serviceMap } from "./map.js";
import { Minimap } from "./minimap.js";
import { remember, remembered } from "./settings.js";
import { Tree } from "./tree.js";
import { Waterfall } from "./waterfall.js";

const EVERY_MS = 2000;
const PLACES = ["waterfall", "flame", "logs", "map"];

export class TraceView {
  constructor(id, span, query, back) {
    Object.assign(this, { id, wanted: span, merged: query.get("linked") === "true", back, place: "waterfall", collapsed: new Set(), opened: new Set(), path: remembered("path", true), folding: remembered("fold", true) });
    this.title = el("h1", {});
    this.facts = el("span", { className: "facts" });
    this.tabs = el("div", { className: "tabs", role: "tablist" });
    this.toggles = el("span", { className: "toggles" });
    this.menu = el("div", { className: "items" });
    this.linked = el("p", { className: "linked", hidden: true });
    this.details = new Details((trace, identity) => this.jump(trace, identity), () => this.select(null));
    this.waterfall = new Waterfall({ select: (item) => this.select(item), fold: (item, open) => this.fold(item, open), resized: () => this.resized() });
    this.flame = new Flame((item) => this.select(item));
    this.minimap = new Minimap((from, to) => this.zoom(from, to));
    this.finder = new Finder({ changed: () => this.draw(), select: (item) => this.select(item, true) });
    this.logs = el("div", { className: "traces logs", tabIndex: 0 });
    this.map = el("div", { className: "canvas-of-map" });
    this.shows = { waterfall: this.waterfall.element, flame: this.flame.element, logs: this.logs, map: this.map };
    this.pane = el("div", { className: "pane" }, this.minimap.element, ...Object.values(this.shows));
    this.more = el("details", { className: "menu" }, el("summary", { className: "button quiet" }, "More"), this.menu);
    this.element = el("section", { className: "view" },
      el("div", { className: "heading" }, el("button", { className: "quiet back", title: "All traces (Esc)", ariaLabel: "All traces", onclick: () => this.back() }, "‹"), this.title, this.facts),
      el("div", { className: "tools" }, this.tabs, this.finder.element, this.toggles, el("span", { className: "space" }), this.more), this.linked,
      el("div", { className: "split" }, this.pane, this.details.element));
    this.element.addEventListener("click", (event) => { if (!this.more.contains(event.target) || event.target.closest(".items")) this.more.open = false; });
    this.timer = setInterval(() => this.load(), EVERY_MS);
    this.load();
  }

  isHere(place, id, span, query) {
    if (place !== "trace" || id?.toLowerCase() !== this.id || (query.get("linked") === "true") !== this.merged || !this.trace) return false;
    if (span && span !== this.selected) this.select(span, true);
    return true;
  }

  close() {
    clearInterval(this.timer);
    this.waterfall.close();
    this.closed = true;
  }

  async load() {
    const after = this.trace ? `&after=${this.trace.sequence}` : "";
    try {
      const trace = await fetchJson(`/api/traces/${encodeURIComponent(this.id)}?linked=${this.merged}${after}`);
      if (trace && !this.closed) this.take(trace);
    } catch (error) {
      if (!this.trace && !this.closed) this.element.replaceChildren(el("div", { className: "empty" }, el("h2", {}, "Not here"), el("p", {}, error.message), el("a", { href: "#/" }, "All traces")));
    }
  }

  // Late spans change neither the selection nor the focus, nor what the window shows.
  take(trace) {
    const whole = !this.trace || (this.from === 0 && this.to === this.total);
    this.trace = trace;
    this.tree = new Tree(trace.rows);
    trace.logsBySpan = Map.groupBy ? Map.groupBy(trace.logs, (log) => log.span) : grouped(trace.logs);
    for (const row of trace.rows) row.logs = trace.logsBySpan.get(row.id);
    this.total = Math.max(1, trace.duration);
    if (whole) Object.assign(this, { from: 0, to: this.total });
    this.finder.update(trace);
    this.flame.update(trace.rows);
    this.summarise();
    this.arrange(true);
    if (this.wanted) this.select(this.wanted, true);
    else this.details.show(this.shownRow(), trace);
    this.wanted = null;
  }

  summarise() {
    const { trace } = this;
    this.title.textContent = trace.name || "(no name)";
    this.title.title = trace.name;
    this.title.className = trace.errors ? "failed" : "";
    this.facts.replaceChildren(el("b", {}, duration(trace.duration)), ` · ${plural(trace.spans, "span")}`, trace.errors ? el("span", { className: "cross" }, ` · ${plural(trace.errors, "error")}`) : "", ` · ${clock(trace.start)}`, trace.missing ? el("span", { className: "attempt" }, ` · ${plural(trace.missing, "parent")} not here`) : "",
      el("span", { className: "chips" }, ...trace.kept.map((reason) => el("span", { className: "chip kept", title: "not sampled, but kept" }, `kept: ${reason}`)), ...trace.services.map((name) => el("span", { className: "chip" }, dot(name), name))), ...trace.correlation.slice(0, 1).map((value) => el("span", { className: "chip id", title: "correlation id" }, value, copyButton(value, "", "Copy the correlation id"))));
    this.linked.hidden = this.merged || !trace.linked.length;
    this.linked.replaceChildren("Linked: ", ...trace.linked.map((other) => el("a", { href: `#/trace/${other.id}` }, dot(other.service), `${other.name} `, el("small", {}, duration(other.duration)))));
    this.buttons();
  }

  buttons() {
    const { trace } = this;
    const toggle = (text, pressed, key, action) => el("button", { className: "quiet", ariaPressed: String(pressed), title: `${text} (${key})`, onclick: action }, text);
    const names = { waterfall: "Waterfall", flame: "Flame", logs: `Logs ${trace.logs.length || ""}`, map: "Map" };
    this.tabs.replaceChildren(...PLACES.map((place, index) => tab(names[place], place === this.place, `Key: ${index + 1}`, () => this.go(place))));
    this.toggles.replaceChildren(...[
      trace.errors ? el("button", { className: "quiet", title: "Next error (e)", onclick: () => this.next() }, "Next error") : "",
      this.place !== "waterfall" ? "" : toggle("Critical path", this.path, "p", () => this.toggle("path")),
      this.place === "waterfall" && this.tree.rows.some((row) => row.repeats) ? toggle("Fold repeats", this.folding, "r", () => this.toggle("folding")) : "",
      trace.linked.length ? toggle(this.merged ? "Linked as one" : `${plural(trace.linked.length, "linked trace")} as one`, this.merged, "l", () => this.toggleLinked()) : ""].filter(Boolean));
    const item = (text, onclick) => el("button", { onclick }, text);
    this.menu.replaceChildren(
      item("Expand all", () => { this.collapsed.clear(); this.arrange(); }),
      item("Collapse all", () => { this.collapsed = new Set(this.tree.rows.filter((row) => row.parental).map((row) => row.id)); this.arrange(); }),
      item("Compare with …", () => this.compare()),
      el("a", { className: "button", href: `/api/traces/${trace.id}/otlp`, download: `trace-${trace.id}.json`, title: "OTLP-JSON, for a bug report" }, "Export"),
      copyButton(trace.id, "Copy trace id"), copyButton(() => location.href, "Copy address"));
  }

  get look() {
    return { from: this.from, to: this.to, selected: this.selected, found: this.finder.found, path: this.path };
  }

  arrange(changed = false) {
    this.items = this.tree.visible(this.collapsed, this.folding, this.opened);
    this.draw(changed);
  }

  draw(changed = false) {
    if (!this.tree) return;
    for (const [place, element] of Object.entries(this.shows)) element.hidden = place !== this.place;
    this.minimap.element.hidden = !["waterfall", "flame"].includes(this.place);
    if (changed) this.minimap.update(this.trace.rows, this.total);
    this.minimap.show(this.from, this.to);
    if (this.place === "waterfall") {
      this.waterfall.update(this.items, this.look, changed);
      this.waterfall.ticks();
    } else if (this.place === "flame") this.flame.draw(this.look);
    else if (changed || this.place !== this.drawnPlace) this.place === "logs" ? this.showLogs() : this.map.replaceChildren(serviceMap(this.trace.map));
    this.drawnPlace = this.place;
  }

  showLogs() {
    const { trace } = this;
    const source = (log) => { const row = this.tree.byId.get(log.span); return el("button", { className: "jump link", onclick: (event) => { event.preventDefault(); this.select(log.span); } }, dot(log.service), row ? row.name : log.service); };
    this.logs.replaceChildren(...(trace.logs.length ? trace.logs.map((log) => logLine(log, `+${duration(Math.max(0, log.time))}`, source(log))) : [el("p", { className: "empty" }, "No log records came with this trace.")]));
  }

  resized() {
    if (!this.trace) return;
    this.minimap.draw();
    if (this.selected) this.waterfall.reveal(this.selected);
  }

  go(place) {
    this.place = place;
    this.buttons();
    this.draw();
    if (place === "waterfall" && this.selected) this.reveal(this.shownRow()?.id);
    if (place !== "logs" && place !== "map") this.minimap.draw();
  }

  fold(item, close) {
    if (item.repeats) close ? this.opened.delete(item.id) : this.opened.add(item.id);
    else if (close) this.collapsed.add(item.id);
    else this.collapsed.delete(item.id);
    this.arrange();
  }

  reveal(id) {
    if (!id) return;
    const { rows, runs } = this.tree.above(id);
    for (const row of rows) this.collapsed.delete(row);
    if (this.selected === id) for (const run of runs) this.opened.add(run);
    this.arrange();
    this.waterfall.reveal(this.selected);
  }

  shownRow() {
    return this.tree.byId.get(this.selected?.replace(/^×/, ""));
  }

  select(id, reveal = false) {
    this.selected = id;
    const row = this.shownRow();
    if (!row) this.selected = null;
    cancelAnimationFrame(this.frame);
    // keys that are held down ask for more than a frame can show
    this.frame = requestAnimationFrame(() => {
      // the address may lead elsewhere by now
      if (this.closed || !location.hash.startsWith("#/trace/")) return;
      this.details.show(this.shownRow(), this.trace);
      history.replaceState(null, "", `#/trace/${this.id}${row ? "/" + row.id : ""}${this.merged ? "?linked=true" : ""}`);
    });
    if (row && reveal) this.reveal(id);
    this.draw();
    if (row) this.waterfall.reveal(id);
  }

  jump(trace, identity) {
    if (this.tree.byId.has(identity)) this.select(identity, true);
    else location.hash = `#/trace/${trace}/${identity}`;
  }

  next() {
    const { rows } = this.tree, here = this.shownRow()?.index ?? -1;
    const row = [...rows.slice(here + 1), ...rows.slice(0, here + 1)].find((item) => item.status === "ERROR");
    if (row) this.select(row.id, true);
  }

  zoom(from = 0, to = this.total) {
    Object.assign(this, { from: Math.max(0, from), to: Math.min(this.total, Math.max(to, from + 1)) });
    this.draw();
  }

  zoomBy(factor) {
    const row = this.shownRow(), middle = row ? row.start + row.duration / 2 : (this.from + this.to) / 2;
    const half = Math.min(this.total, (this.to - this.from) * factor) / 2;
    const from = Math.max(0, Math.min(middle - half, this.total - 2 * half));
    this.zoom(from, from + 2 * half);
  }

  toggle(what) {
    this[what] = !this[what];
    remember(what === "path" ? "path" : "fold", this[what]);
    this.buttons();
    this.arrange();
  }

  toggleLinked() {
    location.hash = `#/trace/${this.id}${this.merged ? "" : "?linked=true"}`;
  }

  compare() {
    sessionStorage.setItem("compare", this.id);
    this.back();
  }

  move(step) {
    const here = this.items.findIndex((item) => item.id === this.selected);
    this.select(this.items[Math.max(0, Math.min(here + step, this.items.length - 1))].id);
  }

  key(event) {
    if (!this.trace) return event.key === "Escape" && (this.back(), true);
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: 15, PageUp: -15 }[event.key];
    const item = this.items.find((candidate) => candidate.id === this.selected);
    const actions = {
      ArrowLeft: () => item && (item.parental && item.open ? this.fold(item, true) : item.row.above && this.select(item.row.above.id, true)),
      ArrowRight: () => item && this.fold(item, false),
      e: () => this.next(), p: () => this.toggle("path"), r: () => this.toggle("folding"), c: () => this.compare(), l: () => this.trace.linked.length && this.toggleLinked(),
      "/": () => this.finder.focus(), "+": () => this.zoomBy(0.5), "-": () => this.zoomBy(2), 0: () => this.zoom(),
      Escape: () => (this.more.open ? (this.more.open = false) : this.selected ? this.select(null) : this.back()),
      ...Object.fromEntries(PLACES.map((place, index) => [index + 1, () => this.go(place)])),
    };
    if (step) this.move(step);
    else if (actions[event.key]) actions[event.key]();
    else return false;
    return true;
  }
}

function grouped(logs) {
  const found = new Map();
  for (const log of logs) found.set(log.span, [...(found.get(log.span) || []), log]);
  return found;
}
