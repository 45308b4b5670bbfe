// Everything known of one span, in a panel that can be resized.

import { copyButton, curl } from "./copy.js";
import { clock, dot, duration, el } from "./dom.js";
import { valueOf } from "./format.js";
import { logLine } from "./logs.js";
import { remember, remembered } from "./settings.js";
import { exception } from "./stack.js";

const NARROWEST = 260, STEP = 24;

export class Details {
  constructor(jump, close) {
    this.jump = jump;
    this.close = close;
    this.content = el("div", { className: "content" });
    this.grip = el("div", { className: "grip", role: "separator", tabIndex: 0, ariaLabel: "Width of the panel", title: "Drag, or ← →, to resize", onpointerdown: (event) => this.drag(event), onkeydown: (event) => this.nudge(event) });
    this.element = el("aside", { className: "details", hidden: true, ariaLabel: "Span" }, this.grip, this.content);
    this.resize(remembered("panel", 440));
  }

  resize(size) {
    this.size = Math.max(NARROWEST, Math.min(size, innerWidth - 320));
    this.element.style.setProperty("--panel", `${this.size}px`);
  }

  nudge(event) {
    const step = { ArrowLeft: STEP, ArrowRight: -STEP }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    this.resize(this.size + step);
    remember("panel", this.size);
  }

  drag(event) {
    event.preventDefault();
    const { clientX, pointerId } = event, before = this.size;
    this.grip.setPointerCapture(pointerId);
    const move = (moved) => this.resize(before + clientX - moved.clientX);
    this.grip.addEventListener("pointermove", move);
    this.grip.addEventListener("pointerup", () => {
      this.grip.removeEventListener("pointermove", move);
      remember("panel", this.size);
    }, { once: true });
  }

  // A span that is shown already, and has not changed, is left as it is: its scroll position and what was opened in it.
  show(row, trace) {
    const facts = row ? JSON.stringify([{ ...row, above: null, repeats: null }, trace.linked.length]) : "";
    if (facts === this.facts && this.element.hidden === !row) return;
    const same = row && this.row?.id === row.id;
    Object.assign(this, { facts, row });
    this.element.hidden = !row;
    if (!row) return;
    const { scrollTop } = this.content;
    this.content.replaceChildren(...this.parts(row, trace));
    this.content.scrollTop = same ? scrollTop : 0;
  }

  parts(row, trace) {
    const events = row.events || [];
    const logs = trace.logsBySpan.get(row.id) || [];
    const command = curl(row.attributes);
    return [
      el("button", { className: "close quiet", title: "Close (Esc)", ariaLabel: "Close", onclick: this.close }, "×"),
      el("h2", {}, row.name || "(no name)"),
      el("p", { className: "facts" }, dot(row.service), row.service, row.kind === "INTERNAL" ? "" : ` · ${row.kind}`, row.attempt ? ` · attempt ${row.attempt}` : "", " · ", el("b", {}, duration(row.duration)), ` from ${duration(row.start)} on`,
        row.path ? ` · on the critical path for ${duration(row.path.reduce((sum, [from, to]) => sum + to - from, 0))}` : ""),
      row.status === "UNSET" && !row.description ? "" : el("p", { className: row.status === "ERROR" ? "cross" : "facts" }, row.status, row.description ? `: ${row.description}` : ""),
      row.early ? el("p", { className: "attempt" }, `Starts ${duration(row.early)} before its parent: the clocks of the two differ.`) : "",
      el("p", { className: "actions" }, copyButton(row.id.slice(0, 16), "Copy span id"), command ? copyButton(command, "Copy as curl", command) : ""),
      ...events.filter((event) => event.name === "exception").map(exception),
      ...this.links(row),
      this.table("Attributes", row.attributes, true),
      ...(logs.length ? [el("h3", {}, `Logs, ${logs.length}`), ...logs.map((log) => logLine(log, duration(Math.max(0, log.time))))] : []),
      ...this.events(events.filter((event) => event.name !== "exception")),
      this.table("Resource", trace.resources[row.resource]),
      this.table("Identity", { trace: row.trace, span: row.id.slice(0, 16), parent: row.parent || "none", scope: row.scope || "", start: new Date(trace.start + row.start / 1e6).toLocaleDateString() + " " + clock(trace.start + row.start / 1e6) })];
  }

  events(events) {
    if (!events.length) return [];
    return [el("h3", {}, "Events"), ...events.map((event) => el("div", { className: "happening" }, el("p", {}, el("b", {}, event.name), ` at ${duration(Math.max(0, event.time))}`), this.table("", event.attributes)))];
  }

  links(row) {
    const go = (trace, span, text) => el("button", { className: "link", onclick: () => this.jump(trace, span) }, text);
    const out = (row.links || []).map((link) => el("div", {}, go(link.trace, link.span, `↪ ${link.name || "span " + link.span}`), link.trace === row.trace ? "" : el("small", {}, ` trace ${link.trace}`), this.table("", link.attributes)));
    const back = (row.linked_from || []).map((link) => el("div", {}, go(link.trace, link.span, `↩ ${link.name}`), el("small", {}, ` ${link.service}`)));
    return [...(out.length ? [el("h3", {}, "Links to"), ...out] : []), ...(back.length ? [el("h3", {}, "Linked from"), ...back] : [])];
  }

  table(title, values, always = false) {
    const entries = Object.entries(values || {}).sort(([one], [other]) => (one < other ? -1 : 1));
    if (!entries.length && !always) return "";
    return el("section", {}, title ? el("h3", {}, title) : "",
      entries.length ? el("dl", {}, ...entries.flatMap(([key, value]) => [el("dt", {}, key), valueOf(key, value)])) : el("p", { className: "note" }, "none"));
  }
}
