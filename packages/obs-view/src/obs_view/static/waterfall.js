// The rows of a trace over time. Only those that can be seen are in the document, and only those that change are made anew.

import { colour, dot, duration, el } from "./dom.js";

const OVERSCAN = 6;
const MAX_INDENT = 24;
const MOST_TICKS = 100;
export const narrow = matchMedia("(max-width: 700px)");

export class Waterfall {
  constructor(actions) {
    this.actions = actions;
    this.items = [];
    this.drawn = new Map();
    this.version = 0;
    this.canvas = el("div", { className: "canvas" });
    this.scroller = el("div", { className: "rows", role: "tree", tabIndex: 0, ariaLabel: "Spans", onscroll: () => this.draw() }, this.canvas);
    this.scale = el("div", { className: "scale" });
    this.element = el("div", { className: "waterfall" }, this.scale, this.scroller);
    this.resized = new ResizeObserver(() => { this.draw(); this.actions.resized(); });
    this.resized.observe(this.scroller);
  }

  close() {
    this.resized.disconnect();
  }

  get rowHeight() {
    return narrow.matches ? 44 : 26;
  }

  // Takes the items; the row at the top of the window stays where it is, whatever has come above it.
  update(items, look, changed = true) {
    const height = this.rowHeight, top = Math.floor(this.scroller.scrollTop / height);
    const anchor = this.items[top]?.id, rest = this.scroller.scrollTop - top * height;
    if (changed) this.version++;
    Object.assign(this, { items, look });
    this.indexes = new Map(items.map((item, index) => [item.id, index]));
    this.canvas.style.height = `${items.length * height}px`;
    const now = this.indexes.get(anchor);
    if (top && now !== undefined && now !== top) this.scroller.scrollTop = now * height + rest;
    this.draw();
  }

  ticks() {
    const { from, to } = this.look;
    const marks = narrow.matches ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1];
    this.scale.replaceChildren(el("span", {}), el("div", {}, ...marks.map((part) => el("span", { style: { left: `${part * 100}%` } }, from + part ? duration(from + (to - from) * part) : "0"))));
  }

  draw() {
    if (!this.look) return;
    const height = this.rowHeight, { scrollTop, clientHeight } = this.scroller;
    const first = Math.max(0, Math.floor(scrollTop / height) - OVERSCAN);
    const last = Math.min(this.items.length, Math.ceil((scrollTop + clientHeight) / height) + OVERSCAN);
    const kept = new Map();
    for (let index = first; index < last; index++) {
      const item = this.items[index];
      const state = this.state(item, index);
      const before = this.drawn.get(item.id);
      if (before?.state === state) {
        kept.set(item.id, before);
        continue;
      }
      const element = this.row(item, index * height);
      if (before) before.element.replaceWith(element);
      else this.canvas.append(element);
      kept.set(item.id, { element, state });
    }
    for (const [id, { element }] of this.drawn) if (!kept.has(id)) element.remove();
    this.drawn = kept;
  }

  state(item, index) {
    const { selected, found, path, from, to } = this.look;
    return [this.version, index, item.id === selected, found.has(item.row.id), item.open, item.depth, path, from, to, this.rowHeight].join();
  }

  reveal(id) {
    const index = this.indexes.get(id), height = this.rowHeight, { scrollTop, clientHeight } = this.scroller;
    if (index === undefined) return;
    const top = index * height;
    if (top < scrollTop) this.scroller.scrollTop = Math.max(0, top - height);
    else if (top + height > scrollTop + clientHeight) this.scroller.scrollTop = top + 2 * height - clientHeight;
    this.draw();
  }

  place(start, length) {
    const { from, to } = this.look, whole = to - from;
    const left = (100 * (start - from)) / whole;
    return { left, width: (100 * length) / whole };
  }

  row(item, top) {
    const { row, repeats } = item, { selected, found, path } = this.look;
    const failed = row.status === "ERROR", chosen = item.id === selected;
    const classes = ["row", failed && "failed", chosen && "selected", found.has(row.id) && "hit", repeats && "repeats"];
    return el("div", { className: classes.filter(Boolean).join(" "), role: "treeitem", ariaLevel: String(item.depth + 1), ariaSelected: String(chosen), ariaExpanded: item.parental ? String(item.open) : null, style: { top: `${top}px`, height: `${this.rowHeight}px` }, onclick: () => this.actions.select(item.id) },
      this.label(item, failed),
      el("div", { className: "track" }, ...(repeats ? this.ticksOf(repeats.rows) : this.bars(row, path, failed))));
  }

  label(item, failed) {
    const { row, repeats } = item;
    const code = row.attributes["http.response.status_code"];
    return el("div", { className: "label", style: { paddingLeft: `${Math.min(item.depth, MAX_INDENT) * (narrow.matches ? 8 : 14)}px` } },
      item.parental ? el("button", { className: "twist", tabIndex: -1, ariaLabel: item.open ? "Collapse" : "Expand", onclick: (event) => { event.stopPropagation(); this.actions.fold(item, item.open); } }, item.open ? "▾" : "▸") : el("span", { className: "twist" }),
      dot(row.service), failed ? el("b", { className: "cross" }, "✗ ") : null,
      el("span", { className: "name", title: `${row.service}: ${row.name}` }, row.name || "(no name)"),
      repeats ? el("b", { className: "times" }, `×${repeats.rows.length}`) : null,
      code === undefined || repeats ? null : el("small", {}, String(code)),
      row.attempt ? el("small", { className: "attempt" }, `attempt ${row.attempt}`) : null,
      row.links || row.linked_from ? el("small", { title: "has links" }, "↪") : null,
      row.early ? el("small", { className: "attempt", title: `starts ${duration(row.early)} before its parent: the clocks differ` }, "clock") : null,
      el("span", { className: "service" }, row.service));
  }

  bars(row, path, failed) {
    const { left, width } = this.place(row.start, row.duration);
    const at = (start, length) => { const { left: x, width: w } = this.place(start, length); return { left: `${x}%`, width: `${w}%` }; };
    return [
      el("i", { className: "bar", style: { left: `${left}%`, width: `${width}%`, background: failed ? "var(--error)" : colour(row.service) } }),
      ...(path && row.path ? row.path : []).map(([from, to]) => el("i", { className: "on-path", style: at(from, to - from) })),
      ...(row.events || []).slice(0, 20).map((event) => el("i", { className: event.name === "exception" ? "event bad" : "event", title: event.name, style: { left: at(event.time, 0).left } })),
      ...(row.logs || []).slice(0, 20).map((log) => el("i", { className: log.severity >= 17 ? "logged bad" : log.severity >= 13 ? "logged warn" : "logged", title: `${log.level} ${log.body}`.slice(0, 200), style: { left: at(log.time, 0).left } })),
      took(duration(row.duration), left, left + width)];
  }

  ticksOf(rows) {
    const sum = rows.reduce((total, row) => total + row.duration, 0);
    const step = Math.ceil(rows.length / MOST_TICKS);
    const shown = rows.filter((_, index) => index % step === 0).map((row) => ({ row, ...this.place(row.start, row.duration) }));
    const { left } = shown[0], end = this.place(rows.at(-1).start + rows.at(-1).duration, 0).left;
    return [...shown.map(({ row, left: x, width }) => el("i", { className: "bar", style: { left: `${x}%`, width: `${width}%`, background: colour(row.service) } })), took(duration(sum), left, end)];
  }
}

// The duration stands right of its bar, or left of it, or in it where both sides are full.
function took(text, left, right) {
  if (right < 0 || left > 100) return null;
  if (right < 84) return el("span", { className: "took", style: { left: `${Math.max(0, right)}%` } }, text);
  if (left > 16) return el("span", { className: "took", style: { right: `${100 - left}%` } }, text);
  return el("span", { className: "took inside", style: { right: `${Math.max(0, 100 - right)}%` } }, text);
}
