// Buttons that copy a text.

import { el } from "./dom.js";

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // a page under a host name that is no secure context has no clipboard
  const area = el("textarea", { value: text, className: "away" });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

export function copyButton(text, label = "", title = "Copy") {
  const shown = label || "⧉";
  const button = el("button", { className: label ? "copy" : "copy bare", title, ariaLabel: title, onclick: async (event) => {
    event.stopPropagation();
    await copy(typeof text === "function" ? text() : text);
    button.textContent = label ? "Copied" : "✓";
    setTimeout(() => { button.textContent = shown; }, 1200);
  } }, shown);
  return button;
}

// The request of an HTTP span as a command line; nothing for other spans.
export function curl(attributes) {
  const method = attributes["http.request.method"] || attributes["http.method"];
  const url = attributes["url.full"] || attributes["http.url"] || assembled(attributes);
  if (!method || !url) return "";
  const quoted = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;
  const headers = Object.entries(attributes).filter(([key]) => key.startsWith("http.request.header."))
    .flatMap(([key, value]) => [value].flat().map((item) => `-H ${quoted(`${key.slice(20).replaceAll("_", "-")}: ${item}`)}`));
  return ["curl", method === "GET" ? "" : `-X ${method}`, ...headers, quoted(url)].filter(Boolean).join(" ");
}

function assembled(attributes) {
  const host = attributes["server.address"];
  if (!host || !attributes["url.path"]) return "";
  const scheme = attributes["url.scheme"] || "http";
  const port = attributes["server.port"];
  const query = attributes["url.query"];
  return `${scheme}://${host}${port && port !== 80 && port !== 443 ? ":" + port : ""}${attributes["url.path"]}${query ? "?" + query : ""}`;
}
