// Counts as bars side by side.

import { svg } from "./dom.js";

export function histogram(label, counts, failures = []) {
  const most = Math.max(1, ...counts), width = 120, height = 24, step = width / counts.length;
  const bar = (index, count, name) => svg("rect", { x: (index * step).toFixed(1), width: Math.max(1, step - 0.6).toFixed(1), y: (height - (count / most) * height).toFixed(1), height: ((count / most) * height).toFixed(1), class: name });
  return svg("svg", { class: "histogram", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    ...counts.flatMap((count, index) => (count ? [bar(index, count, "all"), ...(failures[index] ? [bar(index, failures[index], "bad")] : [])] : [])));
}
