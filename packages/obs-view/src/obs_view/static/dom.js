// Elements from values. Text is always set as text, never as HTML.

export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "style") Object.assign(element.style, value);
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const UNITS = [[60e9, "min"], [1e9, "s"], [1e6, "ms"], [1e3, "µs"]];

export function duration(nanoseconds) {
  for (const [size, unit] of UNITS) {
    if (nanoseconds >= size) {
      const value = nanoseconds / size;
      return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${unit}`;
    }
  }
  return `${Math.round(nanoseconds)} ns`;
}

export function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

export function tab(text, chosen, title, onclick) {
  return el("button", { role: "tab", ariaSelected: String(chosen), title, onclick }, text);
}

export function clock(milliseconds) {
  const date = new Date(milliseconds);
  return Number.isNaN(date.getTime()) ? "?" : date.toLocaleTimeString([], { hour12: false }) + "." + String(date.getMilliseconds()).padStart(3, "0");
}

// A service keeps its colour in all views; red is for errors alone.
const HUES = [265, 165, 40, 205, 320, 95, 235, 185, 65, 290];
const seen = new Map();

export function colour(service) {
  if (!seen.has(service)) seen.set(service, HUES[seen.size % HUES.length]);
  return `hsl(${seen.get(service)} var(--bar-saturation) var(--bar-light))`;
}

export function dot(service) {
  return el("i", { className: "dot", style: { background: colour(service) } });
}

export async function fetchJson(path) {
  const answer = await fetch(path);
  if (answer.status === 204) return null;
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || `${answer.status}`);
  return body;
}

// Three decades of a logarithmic scale, as a percentage: a duration a thousandth of the longest still has a bar.
export function logarithmic(value, longest) {
  return (100 * Math.log10(1 + (999 * value) / Math.max(1, longest))) / 3;
}
