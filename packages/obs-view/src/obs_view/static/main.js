// Which view is shown: the address says so after the #. Lists stay as they were while a trace is open.

import { CompareView } from "./compare.js";
import { plural } from "./dom.js";
import { ListView } from "./list.js";
import { LogsView } from "./logs.js";
import { MetricsView } from "./metrics.js";
import { OperationsView } from "./operations.js";
import { TraceView } from "./trace.js";

const main = document.getElementById("main");
const keys = document.getElementById("keys");
const state = document.getElementById("state");
const LISTS = { "": ListView, operations: OperationsView, logs: LogsView, metrics: MetricsView };
const kept = new Map();
let view = null, last = "";

function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [place, id, span] = path.split("/").map(decodeURIComponent);
  const wanted = new URLSearchParams(query);
  if (view?.isHere?.(place, id, span, wanted)) return;
  view?.close();
  state.textContent = "";
  for (const link of document.querySelectorAll("nav a")) link.ariaCurrent = link.dataset.place === (place in LISTS ? place : "") ? "page" : null;
  if (place === "trace" && id) view = new TraceView(id.toLowerCase(), span, wanted, () => { location.hash = last || "#/"; });
  else if (place === "compare" && id && span) view = new CompareView(id, span, () => { location.hash = last || "#/"; });
  else view = list(place in LISTS ? place : "", wanted);
  main.replaceChildren(view.element);
  view.shown?.();
}

// The same address again is the same list, where the reader left it.
function list(place, query) {
  last = location.hash || "#/";
  const before = kept.get(place);
  if (before && (before.address() === last || !query.size)) {
    before.open();
    last = before.address();
    history.replaceState(null, "", last);
    return before;
  }
  const made = new LISTS[place](query, (address) => { last = address; history.replaceState(null, "", address); });
  kept.set(place, made);
  return made;
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "?") keys.showModal();
  else if (event.key === "Enter" && event.target.matches("button, a, summary")) return;
  else if (!view.key(event)) return;
  event.preventDefault();
}

async function load(files) {
  for (const file of files) {
    const text = (await file.text()).trim();
    const lines = text.split("\n");
    const documents = lines.every((line) => line.startsWith("{") && line.trimEnd().endsWith("}")) ? lines : [text];
    for (const document of documents) {
      const problem = await post("traces", document) || (document.includes('"resourceLogs"') && await post("logs", document)) || (document.includes('"resourceMetrics"') && await post("metrics", document));
      if (problem) {
        state.textContent = `${file.name}: ${problem}`;
        return;
      }
    }
    state.textContent = `${file.name} is imported, ${plural(documents.length, "document")}`;
  }
}

async function post(signal, body) {
  const answer = await fetch(`/v1/${signal}`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  const told = await answer.json();
  return answer.ok ? told.partialSuccess?.errorMessage : told.message;
}

window.addEventListener("hashchange", route);
window.addEventListener("keydown", pressed);
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", (event) => { event.preventDefault(); load(event.dataTransfer.files); });
document.getElementById("import").addEventListener("change", (event) => { load(event.target.files).then(() => { event.target.value = ""; }); });
document.getElementById("help").addEventListener("click", () => keys.showModal());
route();
