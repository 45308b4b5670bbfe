// Two traces side by side: the same steps in one row, and what differs.

import { dot, duration, el, fetchJson, plural } from "./dom.js";

export class CompareView {
  constructor(one, other, back) {
    Object.assign(this, { ids: [one, other], back, onlyDifferent: false });
    this.body = el("div", { className: "traces comparison", tabIndex: 0 });
    this.heading = el("div", { className: "heading" });
    this.element = el("section", { className: "view" }, this.heading, this.body);
    this.load();
  }

  close() {}

  async load() {
    try {
      this.traces = await Promise.all(this.ids.map((id) => fetchJson(`/api/traces/${encodeURIComponent(id)}?linked=false`)));
      this.show();
    } catch (error) {
      this.body.replaceChildren(el("div", { className: "empty" }, el("h2", {}, "Not here"), el("p", {}, error.message), el("a", { href: "#/" }, "All traces")));
    }
  }

  show() {
    const [one, other] = this.traces, lines = merge(one.rows, other.rows);
    const different = lines.filter((line) => line.kind !== "same").length;
    this.heading.replaceChildren(el("button", { className: "quiet back", title: "All traces (Esc)", ariaLabel: "All traces", onclick: () => this.back() }, "‹"), el("h1", {}, "Two traces"),
      el("span", { className: "facts" }, `${plural(lines.length, "step")}, ${different.toLocaleString("en")} differ`), el("span", { className: "space" }),
      el("label", { className: "button quiet" }, el("input", { type: "checkbox", checked: this.onlyDifferent, onchange: (event) => { this.onlyDifferent = event.target.checked; this.show(); } }), " only what differs"),
      el("button", { className: "quiet", onclick: () => { location.hash = `#/compare/${this.ids[1]}/${this.ids[0]}`; } }, "Swap"));
    const whole = Math.max(one.duration, other.duration, 1);
    const column = (trace, letter) => el("a", { href: `#/trace/${trace.id}`, title: trace.id }, el("b", {}, letter), ` ${duration(trace.duration)}, ${plural(trace.spans, "span")}`, trace.errors ? el("span", { className: "cross" }, `, ${plural(trace.errors, "error")}`) : "");
    this.body.replaceChildren(el("div", { className: "step head" }, el("span", {}, "Step"), column(one, "A"), column(other, "B"), el("span", {}, "B − A")),
      ...lines.filter((line) => !this.onlyDifferent || line.kind !== "same").map((line) => row(line, whole)));
  }

  key(event) {
    if (event.key !== "Escape") return false;
    this.back();
    return true;
  }
}

// Steps with the same callers, service and name are one, however often they ran.
function merge(one, other) {
  const steps = new Map(), order = [];
  [one, other].forEach((rows, side) => {
    const above = [];
    for (const span of rows) {
      above.length = span.depth;
      const key = JSON.stringify([above.at(-1) || "", span.service, span.name, span.kind]);
      above[span.depth] = key;
      if (!steps.has(key)) {
        steps.set(key, { name: span.name, service: span.service, depth: span.depth, parent: span.depth ? above[span.depth - 1] : "", sides: [nothing(), nothing()] });
        order.push(key);
      }
      const held = steps.get(key).sides[side];
      held.count++;
      held.total += span.duration;
      held.errors += span.status === "ERROR";
    }
  });
  const below = new Map();
  for (const key of order) below.set(steps.get(key).parent, [...(below.get(steps.get(key).parent) || []), key]);
  const lines = [], stack = [...(below.get("") || [])].reverse();
  while (stack.length) {
    const key = stack.pop(), step = steps.get(key);
    lines.push({ ...step, kind: kindOf(step.sides) });
    stack.push(...[...(below.get(key) || [])].reverse());
  }
  return lines;
}

function nothing() {
  return { count: 0, total: 0, errors: 0 };
}

function kindOf([a, b]) {
  if (!a.count) return "added";
  if (!b.count) return "gone";
  if (a.count !== b.count || a.errors !== b.errors) return "changed";
  const change = Math.abs(b.total - a.total);
  return change > 1e6 && change > 0.25 * Math.max(a.total, b.total) ? "changed" : "same";
}

function row(line, whole) {
  const [a, b] = line.sides, change = b.total - a.total;
  const side = (held) => el("span", { className: held.errors ? "side cross" : "side" }, held.count ? [held.count > 1 ? `×${held.count}  ` : "", duration(held.total), held.errors ? `  ${plural(held.errors, "error")}` : ""].join("") : "–",
    el("i", { style: { width: `${(100 * Math.min(held.total, whole)) / whole}%` } }));
  const word = { added: "only in B", gone: "only in A" }[line.kind] || (change ? `${change < 0 ? "−" : "+"}${duration(Math.abs(change))}` : "=");
  return el("div", { className: `step ${line.kind}` }, el("span", { className: "name", title: `${line.service}: ${line.name}`, style: { paddingLeft: `${Math.min(line.depth, 24) * 14}px` } }, dot(line.service), line.name || "(no name)", el("small", {}, line.service)), side(a), side(b),
    el("span", { className: "change" + (line.kind === "same" ? "" : change > 0 ? " slower" : " faster") }, word));
}
