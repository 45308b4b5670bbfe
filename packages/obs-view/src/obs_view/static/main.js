// Which view is shown: the address says so after the #.

import { ListView } from "./list.js";
import { TraceView } from "./trace.js";

const main = document.getElementById("main");
const keys = document.getElementById("keys");
const state = document.getElementById("state");
let view = null;

function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [place, id, span] = path.split("/").map(decodeURIComponent);
  view?.close();
  state.textContent = "";
  view = place === "trace" && id ? new TraceView(main, id.toLowerCase(), span, new URLSearchParams(query)) : new ListView(main, new URLSearchParams(query));
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
      const answer = await fetch("/v1/traces", { method: "POST", headers: { "Content-Type": "application/json" }, body: document });
      if (!answer.ok) {
        state.textContent = `${file.name}: ${(await answer.json()).message}`;
        return;
      }
    }
    state.textContent = `${file.name} is imported`;
  }
}

window.addEventListener("hashchange", route);
window.addEventListener("keydown", pressed);
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", (event) => { event.preventDefault(); load(event.dataTransfer.files); });
document.getElementById("import").addEventListener("change", (event) => { load(event.target.files).then(() => { event.target.value = ""; }); });
document.getElementById("help").addEventListener("click", () => keys.showModal());
route();
