// The trace as a flame chart: time from left to right, callees below their callers.

import { colour, duration, el } from "./dom.js";

const HEIGHT = 22, LEAST = 0.04;

export class Flame {
  constructor(select) {
    this.select = select;
    this.element = el("div", { className: "flame", role: "group", ariaLabel: "Flame chart" });
  }

  update(rows) {
    this.lanes = lanes(rows);
    this.rows = rows;
  }

  draw({ from, to, selected, found }) {
    const whole = to - from, deepest = Math.max(0, ...this.lanes.values());
    const seen = this.rows.filter((row) => row.start <= to && row.start + row.duration >= from && ((100 * row.duration) / whole >= LEAST || row.status === "ERROR" || row.id === selected));
    this.element.replaceChildren(el("div", { className: "canvas", style: { height: `${(deepest + 1) * HEIGHT + 4}px` } }, ...seen.map((row) => {
      const left = Math.max(0, (100 * (row.start - from)) / whole), right = Math.min(100, (100 * (row.start + row.duration - from)) / whole);
      const failed = row.status === "ERROR";
      return el("button", {
        className: ["box", failed && "failed", row.id === selected && "selected", found.has(row.id) && "hit"].filter(Boolean).join(" "), tabIndex: -1,
        title: `${row.service}: ${row.name}\n${duration(row.duration)}`, onclick: () => this.select(row.id),
        style: { left: `${left}%`, width: `${Math.max(0.05, right - left)}%`, top: `${this.lanes.get(row.id) * HEIGHT}px`, background: failed ? "var(--error)" : colour(row.service) },
      }, right - left > 3 ? `${row.name} ${duration(row.duration)}` : "");
    })));
    this.element.querySelector(".selected")?.scrollIntoView({ block: "nearest" });
  }
}

// A row's lane is the first free one below its parent's.
function lanes(rows) {
  const found = new Map(), ends = [];
  const inOrder = [...rows].sort((one, other) => one.start - other.start || one.depth - other.depth);
  for (const row of inOrder) {
    let lane = row.above && found.has(row.above.id) ? found.get(row.above.id) + 1 : 0;
    while ((ends[lane] ?? -1) > row.start) lane++;
    ends[lane] = row.start + row.duration;
    found.set(row.id, lane);
  }
  return found;
}
