// Curves: hover shows values in all charts at once, dragging zooms all, a double click goes back.
"use strict";
const COLOURS = {
  // Eleven: ten classes have a line each, beside that of all.
  light: ["#2563c9", "#d9580d", "#12875a", "#b4478e", "#b98500", "#1795b8", "#6b7280", "#8056d8",
    "#8f4a1f", "#6b8e23", "#1f2d4d"],
  dark: ["#6ea8ff", "#ff9a5c", "#4cc38a", "#ef8fcb", "#e8c14a", "#5fd0ee", "#aab3c2", "#b79bff",
    "#d3a07c", "#bcd46a", "#f4f4f5"],
};
const WHOLE = Array.from({ length: 16 }, (_, i) => [1, 2, 5].map((digit) => digit * 10 ** i)).flat(); // between ticks
const charts = [];
let zooming = false;

function theme() {
  return document.documentElement.dataset.theme;
}

function colour(index) {
  const palette = COLOURS[theme()];
  return palette[index % palette.length];
}

// The mean of all values, weighted by decay ** distance to both sides: it does not lag.
function smoothed(values, span) {
  const decay = 1 - 2 / (span + 1);
  const sums = (list) => {
    let total = 0, weight = 0;
    return list.map((value) => {
      total *= decay;
      weight *= decay;
      if (value !== null) { total += value; weight += 1; }
      return [total, weight];
    });
  };
  const forward = sums(values), backward = sums([...values].reverse()).reverse();
  return values.map((value, i) => {
    const own = value === null ? [0, 0] : [value, 1];
    const weight = forward[i][1] + backward[i][1] - own[1];
    return value === null || weight <= 0 ? null : (forward[i][0] + backward[i][0] - own[0]) / weight;
  });
}

function nearest(values, index) {
  for (let distance = 0; distance < values.length; distance += 1) {
    for (const at of [index - distance, index + distance]) {
      if (at >= 0 && at < values.length && values[at] !== null && values[at] !== undefined) return at;
    }
  }
  return null;
}

const MOST_TOLD = 10; // lines in a box: those that are nearest to the pointer

// The box beside the pointer. `lines`: series to tell, given by their index in the plot.
function tooltip(host, lines, xName) {
  const box = el("div", { class: "tip", hidden: "" });
  host.append(box);
  return {
    hooks: {
      setCursor: (plot) => {
        const { idx, left } = plot.cursor;
        if (idx === null || idx === undefined || left < 0) { box.hidden = true; return; }
        const rows = told(plot, lines, xName);
        box.replaceChildren(el("b", {}, `${xName} ${number(plot.data[0][idx])}`), ...rows);
        box.hidden = false;
        place(box, plot.over.getBoundingClientRect(), host.getBoundingClientRect(), left);
      },
    },
  };
}

// What each line says at the pointer, or where it has a value that is nearest to it.
function told(plot, lines, xName) {
  const { idx, top } = plot.cursor;
  const found = lines.filter((line) => plot.series[line.index].show)
    .map((line) => ({ line, at: nearest(plot.data[line.index], idx) })).filter(({ at }) => at !== null);
  const away = ({ line, at }) => Math.abs(plot.valToPos(plot.data[line.index][at], "y") - top);
  const near = new Set([...found].sort((a, b) => away(a) - away(b)).slice(0, MOST_TOLD));
  const rows = found.filter((one) => near.has(one)).map(({ line, at }) => {
    const swatch = el("span", { class: "swatch" });
    swatch.style.borderColor = colour(line.colour);
    swatch.style.borderTopStyle = line.dashed ? "dashed" : "solid";
    const where = at === idx ? "" : `(${xName} ${number(plot.data[0][at])})`;
    return el("div", {}, swatch, el("span", {}, line.label), el("small", {}, where), el("b", {}, number(plot.data[line.index][at])));
  });
  return found.length > MOST_TOLD ? [...rows, el("small", {}, `and ${found.length - MOST_TOLD} more`)] : rows;
}

// Right or left of the pointer, or where there is no room for that below the plot: never upon it.
function place(box, plot, host, left) {
  const at = plot.left - host.left + left, width = box.offsetWidth;
  const fitsRight = at + 16 + width < host.width, fitsLeft = at - 16 - width >= 0;
  box.style.left = `${fitsRight ? at + 16 : fitsLeft ? at - 16 - width : Math.max(0, Math.min(at - width / 2, host.width - width))}px`;
  box.style.top = `${fitsRight || fitsLeft ? plot.top - host.top + 8 : plot.bottom - host.top + 30}px`;
}

function zoomAll(source, min, max) {
  if (zooming) return;
  zooming = true;
  for (const chart of charts) {
    if (chart.plot && chart.plot !== source) chart.plot.setScale("x", { min, max });
  }
  zooming = false;
}

function axis(more) {
  return {
    stroke: css("--soft"), grid: { stroke: css("--grid"), width: 1 }, ticks: { show: false },
    font: "11px system-ui, sans-serif", ...more,
  };
}

// series: [{label, colour, dashed, steps, values}]; one chart for each family of metrics.
class CurveChart {
  constructor(title, series, range) {
    this.series = series;
    this.range = range;
    this.log = false;
    this.hiddenLines = new Set();
    this.logButton = el("button", {
      type: "button", "aria-pressed": "false", onclick: () => { this.log = !this.log; this.draw(); },
    }, "log");
    this.keys = el("div", { class: "keys" });
    this.host = el("div");
    const positive = series.every((line) => line.values.every((v) => v === null || v > 0));
    this.node = el("div", { class: "card chart" },
      el("header", {}, el("h3", {}, title), positive ? this.logButton : null), this.keys, this.host);
    charts.push(this);
  }

  draw(span) {
    if (span !== undefined) this.span = span;
    const kept = this.plot ? { ...this.plot.scales.x } : null;
    if (this.plot) this.plot.destroy();
    this.host.replaceChildren();
    this.logButton.setAttribute("aria-pressed", String(this.log));
    const lines = [], tables = [], options = [{}];
    this.series.forEach((line, number_) => {
      const smooths = this.span > 1 && line.values.length >= 40 && !line.dashed;
      const show = !this.hiddenLines.has(number_);
      const stroke = colour(line.colour);
      const points = { show: line.values.length < 40, size: line.values.length === 1 ? 9 : 4, fill: stroke };
      if (smooths) {
        tables.push([line.steps, line.values]);
        options.push({ stroke: `${stroke}44`, width: 1, points: { show: false }, spanGaps: true, show });
      }
      tables.push([line.steps, smooths ? smoothed(line.values, this.span) : line.values]);
      options.push({
        stroke, width: 1.8, dash: line.dashed ? [5, 4] : undefined, spanGaps: true, points, show,
      });
      lines.push({ ...line, index: options.length - 1 });
    });
    const joined = uPlot.join(tables.map(([steps, values]) => [steps, values]));
    this.plot = new uPlot({
      width: Math.max(280, this.host.clientWidth), height: 230, legend: { show: false },
      cursor: {
        sync: { key: "steps" }, drag: { x: true, y: false }, points: { size: 7 },
        bind: { dblclick: () => () => zoomAll(null, ...this.range) },
      },
      scales: { x: { time: false, range: (_, low, high) => [low, high] }, y: { distr: this.log ? 3 : 1 } },
      axes: [axis({ size: 30, values: (_, ticks) => ticks.map(number) }),
        axis({ size: 56, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : number(tick))) })],
      series: options,
      hooks: { setScale: [(plot, key) => {
        if (key === "x" && !zooming) zoomAll(plot, plot.scales.x.min, plot.scales.x.max);
      }] },
      plugins: [tooltip(this.node, lines, "step")],
    }, joined, this.host);
    const [min, max] = kept ? [kept.min, kept.max] : this.range;
    zooming = true;
    this.plot.setScale("x", { min, max });
    zooming = false;
    this.drawKeys();
  }

  drawKeys() {
    if (this.series.length < 2) {
      this.keys.replaceChildren(this.series[0].label);
      return;
    }
    this.keys.replaceChildren(...this.series.map((line, index) => {
      const swatch = el("span", { class: "swatch" });
      swatch.style.borderColor = colour(line.colour);
      swatch.style.borderTopStyle = line.dashed ? "dashed" : "solid";
      return el("button", {
        type: "button", "aria-pressed": String(!this.hiddenLines.has(index)),
        title: "click to hide or show",
        onclick: () => {
          if (!this.hiddenLines.delete(index)) this.hiddenLines.add(index);
          this.draw();
        },
      }, swatch, line.label);
    }));
  }

  resize() {
    this.plot.setSize({ width: Math.max(280, this.host.clientWidth), height: 230 });
  }
}

// points: [{x, y, label}]; one setting of a sweep against its metric.
class PointChart {
  // byLogarithm: how its key was searched; undefined where nobody has said.
  constructor(title, points, categories, byLogarithm) {
    this.points = [...points].sort((a, b) => a.x - b.x);
    this.categories = categories;
    const values = this.points.map((point) => point.x);
    this.log = !categories && Math.min(...values) > 0 && (byLogarithm ?? Math.max(...values) > 20 * Math.min(...values));
    this.host = el("div");
    this.node = el("div", { class: "card chart" },
      el("header", {}, el("h3", {}, title)), el("div", { class: "keys" }, this.log ? "logarithmic" : ""), this.host);
    this.box = el("div", { class: "tip", hidden: "" });
    this.node.append(this.box);
    charts.push(this);
  }

  draw() {
    if (this.own) this.own.destroy();
    this.host.replaceChildren();
    const stroke = colour(0), xs = this.points.map((point) => point.x), names = this.categories;
    const pad = names ? 0.5 : (Math.max(...xs) - Math.min(...xs)) * 0.06 || 1;
    const range = this.log ? [Math.min(...xs) / 1.5, Math.max(...xs) * 1.5] : [Math.min(...xs) - pad, Math.max(...xs) + pad];
    this.own = new uPlot({
      width: Math.max(280, this.host.clientWidth), height: 230, legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 11 } },
      scales: { x: { time: false, distr: this.log ? 3 : 1, range: () => range } },
      axes: [axis({
        size: 34, incrs: xs.every(Number.isInteger) ? WHOLE : undefined, splits: names ? () => names.map((_, i) => i) : undefined,
        values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : names ? names[tick] : number(tick))),
      }), axis({ size: 56, values: (_, ticks) => ticks.map(number) })],
      series: [{}, { stroke, paths: () => null, points: { show: true, size: 9, stroke, fill: `${stroke}66` } }],
      hooks: { setCursor: [(plot) => this.tell(plot)] },
    }, [xs, this.points.map((point) => point.y)], this.host);
  }

  tell(plot) {
    const { idx, left, top } = plot.cursor;
    if (idx === null || idx === undefined || left < 0) { this.box.hidden = true; return; }
    const near = this.points.map((point, i) => ({ point, d: Math.hypot(plot.valToPos(point.x, "x") - left, plot.valToPos(point.y, "y") - top), i }))
      .sort((a, b) => a.d - b.d)[0];
    this.box.hidden = near.d > 40;
    this.box.replaceChildren(el("b", {}, near.point.label), el("div", {}, el("span", {}, ""), el("span", {}, "value"), el("b", {}, number(near.point.y))));
    const inside = plot.over.getBoundingClientRect(), outside = this.node.getBoundingClientRect();
    const at = inside.left - outside.left + left;
    this.box.style.left = `${at + 16 + this.box.offsetWidth < outside.width ? at + 16 : Math.max(0, at - 16 - this.box.offsetWidth)}px`;
    this.box.style.top = `${inside.top - outside.top + Math.max(0, top - 40)}px`;
  }

  resize() {
    this.own.setSize({ width: Math.max(280, this.host.clientWidth), height: 230 });
  }
}
