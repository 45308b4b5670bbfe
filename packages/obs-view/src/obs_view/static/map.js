// Who calls whom, from left to right: services, databases, brokers, outside systems, with calls and errors.

import { layout } from "./layout.js";
import { colour, duration, el, plural, svg } from "./dom.js";

const SIGNS = { database: "⛁", broker: "⇄", outside: "↗" };
const SHORT = 19;

export function serviceMap({ nodes, edges }) {
  const { boxes, paths, width, height } = layout(nodes, edges);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "Service map" });
  const labels = [];
  edges.forEach((edge, number) => {
    const { path, tip, label } = paths[number], failed = edge.errors ? "failed" : "";
    const title = svg("title", {}, `${nodes[edge.from].name} → ${nodes[edge.to].name}: ${plural(edge.count, "call")}, ${plural(edge.errors, "error")}, ${duration(edge.mean)} on average`);
    picture.append(svg("g", { class: failed }, title, svg("path", { class: "edge", d: path }), svg("path", { class: "tip", d: tip })));
    labels.push(svg("text", { ...label, "text-anchor": "middle", class: `count ${failed}` }, `${edge.count.toLocaleString("en")}×${share(edge)}`));
  });
  picture.append(...nodes.map((node, number) => box(node, boxes[number])), ...labels);
  return el("div", { className: "map" }, picture);
}

function share({ count, errors }) {
  if (!errors) return "";
  const percent = (100 * errors) / count;
  return ` ${percent < 1 ? "<1" : Math.round(percent)}% failed`;
}

function box(node, { x, y, width, height }) {
  const service = node.kind === "service", middle = y + height / 2;
  const shape = svg("rect", { x, y, width, height, rx: service ? 7 : height / 2, class: `node ${node.kind} ${node.errors && service ? "failed" : ""}` });
  const mark = service ? svg("circle", { cx: x + 15, cy: middle, r: 5 }) : svg("text", { x: x + 12, y: middle + 5, class: "sort" }, SIGNS[node.kind]);
  if (service) mark.style.fill = colour(node.name);
  const name = node.name.length > SHORT ? node.name.slice(0, SHORT - 1) + "…" : node.name;
  const facts = [service ? plural(node.count, "span") : node.kind, node.errors ? plural(node.errors, "error") : ""].filter(Boolean).join(" · ");
  return svg("g", {}, svg("title", {}, `${node.name}: ${plural(node.count, "span")}, ${plural(node.errors, "error")}`), shape, mark,
    svg("text", { x: x + 29, y: y + 17, class: "title" }, name), svg("text", { x: x + 29, y: y + 31, class: "below" }, facts));
}
