// Everything known of one span.

import { dot, duration, el } from "./dom.js";

export class Details {
  constructor(jump, close) {
    this.jump = jump;
    this.close = close;
    this.element = el("aside", { className: "details", hidden: true, ariaLabel: "Span" });
  }

  show(row, trace) {
    this.element.hidden = !row;
    if (!row) return;
    const exceptions = (row.events || []).filter((event) => event.name === "exception");
    const others = (row.events || []).filter((event) => event.name !== "exception");
    this.element.replaceChildren(
      el("button", { className: "close", title: "Close (Esc)", ariaLabel: "Close", onclick: this.close }, "×"),
      el("h2", {}, row.name || "(no name)"),
      el("p", {}, dot(row.service), row.service, row.kind === "INTERNAL" ? "" : ` · ${row.kind}`, row.attempt ? ` · attempt ${row.attempt}` : ""),
      el("p", {}, el("b", {}, duration(row.duration)), ` from ${duration(row.start)} on`, row.path ? ` · on the critical path for ${duration(row.path.reduce((sum, [from, to]) => sum + to - from, 0))}` : ""),
      row.status === "UNSET" && !row.description ? "" : el("p", { className: row.status === "ERROR" ? "cross" : "" }, row.status, row.description ? `: ${row.description}` : ""),
      row.early ? el("p", { className: "attempt" }, `Starts ${duration(row.early)} before its parent: the clocks of the two differ.`) : "",
      ...exceptions.map((event) => this.exception(event)),
      ...this.links(row),
      this.table("Attributes", row.attributes, true),
      ...(others.length ? [el("h3", {}, "Events"), ...others.map((event) => el("div", { className: "happening" }, el("p", {}, el("b", {}, event.name), ` at ${duration(event.time)}`), this.table("", event.attributes)))] : []),
      this.table("Resource", trace.resources[row.resource]),
      this.table("Identity", { trace: row.trace, span: row.id, parent: row.parent || "none", scope: row.scope || "" }));
    this.element.scrollTop = 0;
  }

  exception(event) {
    const { "exception.type": type, "exception.message": message, "exception.stacktrace": stack } = event.attributes;
    return el("div", { className: "exception" }, el("b", {}, type || "exception"), message ? `: ${message}` : "", stack ? el("details", { open: true }, el("summary", {}, "Stack"), el("pre", {}, stack)) : "");
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
    const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
    return el("section", {}, title ? el("h3", {}, title) : "",
      entries.length ? el("dl", {}, ...entries.flatMap(([key, value]) => [el("dt", {}, key), el("dd", { className: typeof value === "string" ? "" : "typed" }, text(value))])) : el("p", { className: "note" }, "none"));
  }
}
