// Which service calls which, from left to right.

import { colour, svg } from "./dom.js";

const WIDTH = 150, HEIGHT = 34, GAP_X = 90, GAP_Y = 16;

export function serviceMap(rows) {
  const byId = new Map(rows.map((row) => [row.id, row]));
  const edges = new Map();
  const nodes = new Map();
  for (const row of rows) {
    const node = nodes.get(row.service) || { rank: nodes.size ? 1 : 0, errors: 0 };
    node.errors += row.status === "ERROR";
    nodes.set(row.service, node);
    const parent = byId.get(row.parent);
    if (!parent || parent.service === row.service) continue;
    const key = JSON.stringify([parent.service, row.service]);
    if (!edges.has(key) && !edges.has(JSON.stringify([row.service, parent.service]))) node.rank = Math.max(node.rank, nodes.get(parent.service).rank + 1);
    edges.set(key, (edges.get(key) || 0) + 1);
  }
  const columns = [];
  for (const [name, node] of nodes) {
    node.rank = Math.min(node.rank, nodes.size);
    (columns[node.rank] ||= []).push(name);
    node.y = (columns[node.rank].length - 1) * (HEIGHT + GAP_Y) + 8;
  }
  columns.filter(Boolean).forEach((names, index) => names.forEach((name) => { nodes.get(name).x = index * (WIDTH + GAP_X) + 4; }));
  const wide = columns.filter(Boolean).length * (WIDTH + GAP_X) - GAP_X + 8;
  const high = Math.max(...columns.filter(Boolean).map((names) => names.length)) * (HEIGHT + GAP_Y) + 20;
  const picture = svg("svg", { viewBox: `0 0 ${wide} ${high}`, width: wide, height: high, role: "img", "aria-label": "Service map" });
  for (const [key, count] of edges) picture.append(...edge(...JSON.parse(key).map((name) => nodes.get(name)), count));
  for (const [name, node] of nodes) picture.append(...box(name, node));
  return picture;
}

function edge(from, to, count) {
  const forward = to.x > from.x;
  const [x1, x2] = forward ? [from.x + WIDTH, to.x] : [from.x, to.x + WIDTH];
  const [y1, y2] = [from.y + HEIGHT / 2 + (forward ? 0 : 8), to.y + HEIGHT / 2 + (forward ? 0 : 8)];
  const middle = (x1 + x2) / 2;
  const text = svg("text", { x: middle, y: (y1 + y2) / 2 + (forward ? -5 : 14), "text-anchor": "middle" }, `${count}×`);
  const tip = forward ? -6 : 6;
  return [svg("path", { class: "edge", d: `M${x1},${y1} C${middle},${y1} ${middle},${y2} ${x2},${y2}` }), svg("path", { class: "tip", d: `M${x2},${y2} l${tip},-4 v8 z` }), text];
}

function box(name, node) {
  const shape = svg("rect", { x: node.x, y: node.y, width: WIDTH, height: HEIGHT, rx: 6, class: node.errors ? "node failed" : "node" });
  const mark = svg("circle", { cx: node.x + 14, cy: node.y + HEIGHT / 2, r: 5 });
  mark.style.fill = colour(name);
  const short = name.length > 17 ? name.slice(0, 16) + "…" : name;
  return [shape, mark, svg("text", { x: node.x + 25, y: node.y + HEIGHT / 2 + 4 }, short)];
}
