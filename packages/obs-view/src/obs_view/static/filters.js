// What the lists have in common: a search, a service, a time range, and an address that keeps them.

import { el, fetchJson } from "./dom.js";

const EVERY_MS = 1000;
const WITHIN = [["", "any time"], ["60000", "last minute"], ["600000", "last 10 min"], ["3600000", "last hour"], ["custom", "from … to"]];

export class Filters {
  // `controls` maps the names of fields to elements; `load` takes what was found, `fail` a message.
  constructor(place, path, query, address, controls, { load, fail }) {
    Object.assign(this, { place, path, query, setAddress: address, controls, load, fail, after: null, asked: 0, answered: 0 });
    this.within = el("select", { ariaLabel: "Time", onchange: () => this.changed() }, ...WITHIN.map(([value, text]) => el("option", { value }, text)));
    this.since = this.moment("From", "since");
    this.until = this.moment("To", "until");
    this.within.value = query.get("since") || query.get("until") ? "custom" : query.get("within") || "";
    for (const [name, control] of Object.entries(controls)) {
      control.value = query.get(name) || "";
      control.addEventListener(control.tagName === "SELECT" ? "change" : "input", () => (control.tagName === "SELECT" ? this.changed() : this.later()));
    }
    this.extra = Object.fromEntries(["sort", "offset"].map((name) => [name, query.get(name)]));
    this.range();
    this.open();
  }

  moment(label, name) {
    const input = el("input", { type: "datetime-local", step: "1", ariaLabel: label, onchange: () => this.changed() });
    const value = Number(this.query.get(name));
    if (value) input.value = new Date(value - new Date(value).getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
    return input;
  }

  range() {
    this.since.hidden = this.until.hidden = this.within.value !== "custom";
  }

  open() {
    clearInterval(this.timer);
    this.closed = false;
    // where answers take longer than that, they must not overtake each other for ever
    this.timer = setInterval(() => this.answered === this.asked && this.refresh(), EVERY_MS);
    this.refresh();
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

  address() {
    return `#/${this.place}${this.query.size ? "?" + this.query : ""}`;
  }

  set(name, value) {
    this.extra = { ...this.extra, [name]: value };
    this.changed(name !== "offset");
  }

  changed(first = true) {
    this.range();
    const custom = this.within.value === "custom";
    const at = (input) => (custom && input.value ? String(new Date(input.value).getTime()) : "");
    if (first) delete this.extra.offset;
    const fields = { ...Object.fromEntries(Object.entries(this.controls).map(([name, control]) => [name, control.value])), within: custom ? "" : this.within.value, since: at(this.since), until: at(this.until), ...this.extra };
    this.query = new URLSearchParams(Object.entries(fields).filter(([, value]) => value));
    this.setAddress(this.address());
    this.after = null;
    this.fresh = true;
    this.refresh();
  }

  async refresh() {
    const query = new URLSearchParams(this.query);
    const within = query.get("within");
    query.delete("within");
    if (within) query.set("since", Date.now() - within);
    else if (this.after !== null) query.set("after", this.after);
    const asked = ++this.asked;
    try {
      const found = await fetchJson(`${this.path}?${query}`);
      if (!found || this.closed || asked !== this.asked) return;
      this.after = found.sequence;
      const fresh = this.fresh;
      this.fresh = false;
      this.load(found, fresh);
    } catch (error) {
      if (!this.closed && asked === this.asked) this.fail(error instanceof TypeError ? "obs-view has stopped." : error.message);
    } finally {
      this.answered = Math.max(this.answered, asked);
    }
  }

  services(names) {
    const wanted = this.query.get("service") || "", shown = this.controls.service;
    const wantedNames = [...new Set([...names, ...(wanted ? [wanted] : [])])];
    if (wantedNames.join("\n") === this.known) return;
    this.known = wantedNames.join("\n");
    shown.replaceChildren(el("option", { value: "" }, "all services"), ...wantedNames.map((name) => el("option", { value: name }, name)));
    shown.value = wanted;
  }
}

export function select(label, options) {
  return el("select", { ariaLabel: label }, ...options.map(([value, text]) => el("option", { value }, text)));
}
