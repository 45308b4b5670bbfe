// An exception: the application's frames first, the whole stack folded below them.

import { copyButton } from "./copy.js";
import { el } from "./dom.js";

const FRAME = /^ {2}File "(.+)", line (\d+), in (.+)$/;
const LIBRARY = /[\\/](?:site-packages|dist-packages|lib[\\/]python\d[^\\/]*)[\\/]|^<frozen |[\\/]node_modules[\\/]/;

export function exception(event) {
  const { "exception.type": type, "exception.message": message, "exception.stacktrace": stack } = event.attributes;
  const text = [type || "exception", message].filter(Boolean).join(": ");
  return el("section", { className: "exception" },
    el("p", {}, el("b", {}, type || "exception"), message ? `: ${message}` : "", copyButton(stack || text, "", "Copy the stack")),
    ...(stack ? frames(String(stack)) : []));
}

function frames(stack) {
  const found = parsed(stack);
  const own = found.filter((frame) => !LIBRARY.test(frame.file));
  if (!own.length) return [whole(stack, found.length, true)];
  return [
    el("ol", { className: "frames" }, ...own.map((frame) => el("li", {},
      el("code", { className: "place" }, short(frame.file), ":", el("b", {}, frame.line)), ` in ${frame.name}`,
      frame.code ? el("pre", {}, frame.code) : ""))),
    whole(stack, found.length, false)];
}

function whole(stack, count, open) {
  return el("details", { open }, el("summary", {}, count ? `Whole stack, ${count} ${count === 1 ? "frame" : "frames"}` : "Stack"), el("pre", {}, stack));
}

function parsed(stack) {
  const found = [];
  for (const line of stack.split("\n")) {
    const match = FRAME.exec(line);
    if (match) found.push({ file: match[1], line: match[2], name: match[3], code: "" });
    else if (found.length && line.startsWith("    ") && !/^[\s~^]*$/.test(line)) found.at(-1).code ||= line.trim();
  }
  return found;
}

function short(file) {
  return file.split(/[\\/]/).slice(-3).join("/");
}
