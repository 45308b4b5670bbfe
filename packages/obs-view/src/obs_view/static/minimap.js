// The whole trace in little; dragging over it zooms.

import { colour, el } from "./dom.js";

const HEIGHT = 30;

export class Minimap {
  constructor(zoom) {
    this.zoom = zoom;
    this.canvas = el("canvas", { height: HEIGHT, ariaLabel: "The whole trace; drag over a part to zoom in", role: "img" });
    this.window = el("div", { className: "window" });
    this.element = el("div", { className: "minimap", title: "Drag to zoom; double click for all (0)", onpointerdown: (event) => this.drag(event), ondblclick: () => zoom(0, this.total) }, this.canvas, this.window);
  }

  update(rows, total) {
    Object.assign(this, { rows, total });
    this.draw();
  }

  draw() {
    const { clientWidth: width } = this.element, scale = devicePixelRatio || 1;
    if (!this.rows || !width) return;
    Object.assign(this.canvas, { width: width * scale, height: HEIGHT * scale });
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement), error = style.getPropertyValue("--error");
    const line = Math.max(1, Math.min(5 * scale, (HEIGHT * scale) / this.rows.length));
    for (const [index, row] of this.rows.entries()) {
      const hue = colour(row.service).replace(/var\((--[a-z-]+)\)/g, (_, name) => style.getPropertyValue(name));
      context.fillStyle = row.status === "ERROR" ? error : hue;
      context.fillRect((row.start / this.total) * width * scale, Math.min(index * line, (index / this.rows.length) * HEIGHT * scale), Math.max(scale, (row.duration / this.total) * width * scale), Math.max(1, line * 0.8));
    }
  }

  show(from, to) {
    const whole = from <= 0 && to >= this.total;
    Object.assign(this.window.style, { left: `${(100 * from) / this.total}%`, right: `${100 - (100 * to) / this.total}%` });
    this.window.hidden = whole;
  }

  drag(event) {
    const { left, width } = this.element.getBoundingClientRect();
    const at = (moved) => Math.max(0, Math.min(1, (moved.clientX - left) / width)) * this.total;
    const start = at(event);
    this.element.setPointerCapture(event.pointerId);
    const range = (moved) => [start, at(moved)].sort((one, other) => one - other);
    const move = (moved) => { const [from, to] = range(moved); this.window.hidden = false; this.show(from, to); };
    this.element.addEventListener("pointermove", move);
    this.element.addEventListener("pointerup", (moved) => {
      this.element.removeEventListener("pointermove", move);
      const [from, to] = range(moved);
      if (to - from > this.total / 500) this.zoom(from, to);
      else this.zoom();
    }, { once: true });
  }
}
