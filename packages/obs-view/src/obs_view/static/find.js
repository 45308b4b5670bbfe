// Find in trace: in names, services, attributes, events and logs; jumps to the first hit while one types.

import { el } from "./dom.js";

export class Finder {
  constructor({ changed, select }) {
    Object.assign(this, { changed, select, found: new Set(), hits: [], here: -1 });
    this.input = el("input", { type: "search", placeholder: "Find in trace", ariaLabel: "Find in trace", oninput: () => this.seek(), onkeydown: (event) => this.pressed(event) });
    this.count = el("span", { className: "count", role: "status" });
    const step = (text, title, by) => el("button", { className: "quiet", title, ariaLabel: title, onclick: () => this.step(by) }, text);
    this.steps = el("span", { className: "steps", hidden: true }, this.count, step("↑", "Previous (Shift+Enter)", -1), step("↓", "Next (Enter)", 1));
    this.element = el("span", { className: "find" }, this.input, this.steps);
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  update(trace) {
    this.rows = trace.rows;
    this.texts = null;
    if (this.input.value) this.match();
  }

  match() {
    this.texts ||= this.rows.map((row) => [row.name, row.service, row.kind, row.id, row.description || "", JSON.stringify(row.attributes), JSON.stringify(row.events || []), ...(row.logs || []).map((log) => log.body)].join("\n").toLowerCase());
    const text = this.input.value.trim().toLowerCase();
    this.hits = text ? this.rows.filter((_, index) => this.texts[index].includes(text)) : [];
    this.found = new Set(this.hits.map((row) => row.id));
    this.say();
  }

  seek() {
    this.match();
    this.here = -1;
    this.changed();
    if (this.hits.length) this.step(1);
    else this.say();
  }

  step(by) {
    if (!this.hits.length) return;
    this.here = (this.here + by + this.hits.length) % this.hits.length;
    this.say();
    this.select(this.hits[this.here].id);
  }

  say() {
    this.steps.hidden = !this.input.value.trim();
    this.count.textContent = this.hits.length ? `${Math.max(0, this.here) + 1} of ${this.hits.length}` : "none";
    this.count.classList.toggle("cross", !this.hits.length);
  }

  pressed(event) {
    if (event.key !== "Enter") return;
    event.preventDefault();
    this.step(event.shiftKey ? -1 : 1);
  }
}
