"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

  // What the pointer is on, in words.
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");
  document.body.append(tip);
  function showTip(lines, x, y) {
    tip.replaceChildren(...lines.map((line, i) => {
      const part = document.createElement(i ? "div" : "b");
      part.textContent = line;
      return part;
    }));
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, x + 14), innerWidth - width - 8);
    const top = y - height - 12 > 8 ? y - height - 12 : y + 18;
    tip.style.transform = `translate(${left}px, ${top}px)`;
  }
  const hideTip = () => { tip.hidden = true; };
  document.addEventListener("pointermove", (event) => {
    const mark = event.target.closest?.("[data-tip]");
    if (mark) showTip(mark.dataset.tip.split("|"), event.clientX, event.clientY);
    else if (!event.target.closest?.("canvas")) hideTip();
  });
  document.addEventListener("focusin", (event) => {
    const mark = event.target.closest?.("[data-tip]");
    if (!mark) return hideTip();
    const box = mark.getBoundingClientRect();
    showTip(mark.dataset.tip.split("|"), box.x + box.width / 2, box.y);
  });
  document.addEventListener("scroll", hideTip, { passive: true });

  // A line or a legend's entry that is pointed at comes forward in all figures that share it.
  function bringForward(scope, name) {
    scope.classList.toggle("focus", name !== null);
    for (const part of all("[data-series]", scope)) {
      part.classList.toggle("on", name !== null && part.dataset.series === name);
    }
  }
  for (const scope of all(".linked")) {
    const enter = (event) => {
      const part = event.target.closest("[data-series]");
      bringForward(scope, part && !part.classList.contains("dot") ? part.dataset.series : null);
    };
    scope.addEventListener("pointerover", enter);
    scope.addEventListener("focusin", enter);
    scope.addEventListener("pointerleave", () => bringForward(scope, null));
    scope.addEventListener("focusout", () => bringForward(scope, null));
  }

  // Tables are sorted by the column that is clicked.
  for (const table of all("table.sortable")) {
    const heads = all("thead th", table);
    heads.forEach((head, column) => head.firstElementChild?.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const rows = all("tbody tr", table).sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return x === y ? 0 : x === "" ? 1 : -1;
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
        return up ? order : -order;
      });
      table.tBodies[0].append(...rows);
    }));
  }

  // Confusion matrices: colour is the share of the true class; wheel, buttons or two fingers zoom.
  class Matrix {
    constructor(box, data, first) {
      this.box = box;
      this.data = data;
      this.canvas = box.querySelector("canvas");
      this.size = data.names.length;
      this.view = { x: 0, y: 0, span: this.size };
      this.pointers = new Map();
      const select = box.querySelector("select");
      this.show(first);
      select.value = String(first);
      select.addEventListener("change", () => this.show(Number(select.value)));
      const middle = () => [this.view.x + this.view.span / 2, this.view.y + this.view.span / 2];
      const [nearer, further, whole] = all("button", box);
      nearer.addEventListener("click", () => this.zoom(0.6, ...middle()));
      further.addEventListener("click", () => this.zoom(1 / 0.6, ...middle()));
      whole.addEventListener("click", () => this.zoom(1e6, 0, 0));
      const on = (kind, act, options) => this.canvas.addEventListener(kind, act, options);
      on("wheel", (event) => {
        const inward = event.deltaY < 0;
        if (!inward && this.view.span >= this.size) return;
        event.preventDefault();
        this.zoom(inward ? 0.85 : 1 / 0.85, ...this.cellAt(event));
      }, { passive: false });
      on("dblclick", (event) => this.zoom(0.5, ...this.cellAt(event)));
      on("pointerdown", (event) => this.pointers.set(event.pointerId, event));
      on("pointermove", (event) => this.move(event));
      for (const kind of ["pointerup", "pointercancel", "pointerleave"]) {
        on(kind, (event) => { this.pointers.delete(event.pointerId); if (kind !== "pointerup") hideTip(); });
      }
      new ResizeObserver(() => this.draw()).observe(this.canvas);
    }
    show(index) {
      this.cells = this.data.networks[index].cells;
      this.totals = new Array(this.size).fill(0);
      this.counts = new Map();
      for (const [row, column, count] of this.cells) {
        this.totals[row] += count;
        this.counts.set(row * this.size + column, count);
      }
      this.draw();
    }
    get margin() {
      return this.labelled ? Math.min(130, this.width * 0.3) : 22;
    }
    get labelled() {
      return (this.width - Math.min(130, this.width * 0.3)) / this.view.span >= 10;
    }
    cellAt(event) {
      const box = this.canvas.getBoundingClientRect();
      const side = (box.width - this.margin) / this.view.span;
      return [
        this.view.x + (event.clientX - box.x - this.margin) / side,
        this.view.y + (event.clientY - box.y) / side,
      ];
    }
    zoom(factor, x, y) {
      const span = Math.min(this.size, Math.max(Math.min(4, this.size), this.view.span * factor));
      const scale = span / this.view.span;
      const hold = (at, start) => Math.min(this.size - span, Math.max(0, at - (at - start) * scale));
      this.view = { x: hold(x, this.view.x), y: hold(y, this.view.y), span };
      this.canvas.classList.toggle("zoomed", span < this.size);
      this.draw();
    }
    move(event) {
      const before = this.pointers.get(event.pointerId);
      if (before && this.view.span < this.size) {
        if (this.pointers.size === 2) this.pinch(event, before);
        else {
          const side = (this.canvas.clientWidth - this.margin) / this.view.span;
          const most = this.size - this.view.span;
          this.view.x = Math.min(most, Math.max(0, this.view.x - (event.clientX - before.clientX) / side));
          this.view.y = Math.min(most, Math.max(0, this.view.y - (event.clientY - before.clientY) / side));
          this.draw();
        }
        this.pointers.set(event.pointerId, event);
      }
      this.tell(event);
    }
    pinch(event, before) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const apart = (a) => Math.hypot(a.clientX - other.clientX, a.clientY - other.clientY) || 1;
      this.zoom(apart(before) / apart(event), ...this.cellAt(event));
    }
    tell(event) {
      const [x, y] = this.cellAt(event);
      const [row, column] = [Math.floor(y), Math.floor(x)];
      const inside = row >= this.view.y - 1 && row < this.size && column >= this.view.x && column < this.size;
      if (!inside || y > this.view.y + this.view.span) return hideTip();
      const count = this.counts.get(row * this.size + column) ?? 0;
      const total = this.totals[row];
      const share = total ? `, ${Math.round(100 * count / total)} %` : "";
      const names = this.data.names;
      const what = row === column ? "recognised" : `taken for ${names[column]}`;
      showTip([names[row], what, `${count} of ${total} videos${share}`], event.clientX, event.clientY);
    }
    draw() {
      const { canvas, view } = this;
      const width = canvas.clientWidth;
      if (!width) return;
      const ratio = Math.min(3, devicePixelRatio || 1);
      canvas.width = canvas.height = Math.round(width * ratio);
      this.width = width;
      const style = getComputedStyle(root);
      const colour = (name) => style.getPropertyValue(name).trim();
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      pen.fillStyle = colour("--surface");
      pen.fillRect(0, 0, width, width);
      const margin = this.margin;
      const side = (width - margin) / view.span;
      pen.save();
      pen.beginPath();
      pen.rect(margin, 0, width - margin, width - margin);
      pen.clip();
      pen.fillStyle = colour("--cell-low");
      pen.fillRect(margin, 0, width - margin, width - margin);
      pen.strokeStyle = colour("--line");
      pen.strokeRect(margin + 0.5, 0.5, width - margin - 1, width - margin - 1);
      const gap = side > 6 ? 1 : 0;
      const high = colour("--cell-high");
      for (const [row, column, count] of this.cells) {
        const x = margin + (column - view.x) * side;
        const y = (row - view.y) * side;
        if (x < margin - side || y < -side || x > width || y > width) continue;
        pen.globalAlpha = 0.12 + 0.88 * count / this.totals[row];
        pen.fillStyle = high;
        pen.fillRect(x + gap / 2, y + gap / 2, Math.max(1, side - gap), Math.max(1, side - gap));
        if (side > 22) {
          pen.globalAlpha = 1;
          pen.fillStyle = colour(count / this.totals[row] > 0.5 ? "--cell-low" : "--ink");
          pen.font = "12px system-ui, sans-serif";
          pen.textAlign = "center";
          pen.textBaseline = "middle";
          pen.fillText(count, x + side / 2, y + side / 2);
        }
      }
      pen.restore();
      this.drawNames(pen, colour("--soft"), side, margin);
    }
    drawNames(pen, ink, side, margin) {
      const { view, width } = this;
      pen.fillStyle = ink;
      pen.font = `${Math.min(12, Math.max(9, side - 1))}px system-ui, sans-serif`;
      pen.textBaseline = "middle";
      if (!this.labelled) {
        pen.font = "12px system-ui, sans-serif";
        pen.textAlign = "center";
        pen.fillText("predicted", margin + (width - margin) / 2, width - margin / 2);
        pen.save();
        pen.translate(margin / 2, (width - margin) / 2);
        pen.rotate(-Math.PI / 2);
        pen.fillText("true", 0, 0);
        pen.restore();
        return;
      }
      const fit = (name) => {
        let text = name;
        while (text.length > 3 && pen.measureText(text).width > margin - 10) text = `${text.slice(0, -2)}\u2026`;
        return text;
      };
      pen.textAlign = "right";
      for (let row = Math.ceil(view.y - 0.5); row < Math.min(this.size, view.y + view.span - 0.4); row++) {
        pen.fillText(fit(this.data.names[row]), margin - 6, (row + 0.5 - view.y) * side);
      }
      for (let column = Math.ceil(view.x - 0.5); column < Math.min(this.size, view.x + view.span - 0.4); column++) {
        pen.save();
        pen.translate(margin + (column + 0.5 - view.x) * side, width - margin + 6);
        pen.rotate(-Math.PI / 2);
        pen.fillText(fit(this.data.names[column]), 0, 0);
        pen.restore();
      }
    }
  }
  const matrices = all(".confusion").map((box) => {
    const data = JSON.parse(document.getElementById(box.dataset.source).textContent);
    return new Matrix(box, data, Number(box.dataset.first));
  });
  const redraw = () => matrices.forEach((matrix) => matrix.draw());

  // Light and dark: as the system has it until the button says otherwise.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.querySelector(".theme");
  const isDark = () => (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    label();
    redraw();
  });
  dark.addEventListener("change", () => { label(); redraw(); });
  button.hidden = false;
  label();
})();
