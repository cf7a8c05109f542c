"use strict";

const report = JSON.parse(document.getElementById("report-data").textContent);
const plots = [...document.querySelectorAll(".drawing")];
const drawn = new Set();

// plotly.js would offer to send a figure to its makers' site: no button, and nowhere to send it.
const config = {
  displaylogo: false,
  modeBarButtons: [["toImage", "resetScale2d"]],
  plotlyServerURL: "",
  responsive: true,
  showSendToCloud: false,
};

function theme() {
  const style = getComputedStyle(document.documentElement);
  const [ink, muted, grid, line, paper, raised, sans] = [
    "ink", "muted", "grid", "line", "paper", "raised", "sans",
  ].map((name) => style.getPropertyValue(`--${name}`).trim());
  const axis = {
    gridcolor: grid, zerolinecolor: grid, linecolor: line, tickcolor: line,
    tickfont: { color: muted }, title: { font: { color: muted, size: 14 }, standoff: 10 },
    automargin: true,
  };
  return {
    layout: {
      font: { family: sans, size: 13, color: ink },
      colorway: [ink],
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: axis,
      yaxis: axis,
      annotationdefaults: { font: { color: muted, size: 14 } },
      shapedefaults: { line: { color: muted } },
      hoverlabel: { align: "left", bgcolor: raised, bordercolor: line, font: { color: ink, family: sans, size: 13 } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: ink },
      hovermode: "closest",
    },
  };
}

// What the reader chose: the way of counting, a point, one to compare it with, a budget.
const wanted = new URLSearchParams(location.hash.slice(1));
const axisOf = (key) => report.axes.find((axis) => axis.key === key) ?? report.axes[0];
const state = { axis: axisOf(wanted.get("by")), chosen: null, pinned: null, budget: null, published: false };
const at = (id) => report.points[id].at[state.axis.key];

// The points that no other beats in accuracy and in what is sure on this axis, the slowest first.
function front() {
  const known = report.eligible.filter(at);
  known.sort((a, b) => at(b)[1] - at(a)[1] || report.points[b].y - report.points[a].y);
  let best = -Infinity;
  return known.filter((id) => report.points[id].y > best && ((best = report.points[id].y), true)).reverse();
}

// The main figure along another axis than the one it was written for.
function along(figure) {
  const { data, layout } = figure;
  const macs = state.axis === report.axes[0];
  for (const trace of data) {
    if (trace.meta === "front" && !macs) {
      const steps = front();
      [trace.x, trace.y] = [steps.map((id) => at(id)[0]), steps.map((id) => report.points[id].y)];
    }
    if (trace.meta === "repeats") trace.visible = macs;
    if (trace.meta === "published") trace.visible = macs && state.published;
    if (trace.meta !== "points") continue;
    if (!macs) {
      trace.customdata = trace.customdata.filter(at).sort((a, b) => at(a)[0] - at(b)[0]);
      trace.x = trace.customdata.map((id) => at(id)[0]);
      trace.y = trace.customdata.map((id) => report.points[id].y);
      trace.mode = "markers"; // what is in order of one cost need not be of another
    }
    if (trace.error_y) {
      trace.error_y.array = trace.customdata.map((id) => report.points[id].interval[1] - report.points[id].y);
      trace.error_y.arrayminus = trace.customdata.map((id) => report.points[id].y - report.points[id].interval[0]);
    }
  }
  if (!macs) {
    const [floor] = layout.yaxis.range;
    const xs = Object.keys(report.points).filter((id) => at(id) && report.points[id].y >= floor).map((id) => at(id)[0]);
    const [low, high] = [Math.min(...xs), Math.max(...xs)];
    const half = 0.57 * Math.max(high - low, 0.4);
    layout.xaxis.range = [(low + high) / 2 - half, (low + high) / 2 + half];
    layout.xaxis.title.text = state.axis.title;
  }
  const published = data.find(({ meta }) => meta === "published");
  if (published?.visible) {
    for (const [axis, values, margin] of [[layout.xaxis, published.x, 0.1], [layout.yaxis, published.y, 0.5]]) {
      const [low, high] = axis.range;
      axis.range = [Math.min(low, Math.min(...values) - margin), Math.max(high, Math.max(...values) + margin)];
    }
  }
  layout.shapes = marked(layout.shapes);
}

// The figure's own lines, a ring around each point that was chosen, and the budget. Shapes are
// drawn anew without the points: a move of the slider costs the same however many there are.
function marked(shapes) {
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  const round = { type: "circle", xsizemode: "pixel", ysizemode: "pixel", x0: -13, x1: 13, y0: -13, y1: 13 };
  const chosen = [...new Set([state.chosen, state.pinned])].filter((id) => id !== null && at(id));
  const rings = chosen.map((id) => ({
    ...round, name: "chosen", xanchor: at(id)[0], yanchor: report.points[id].y, line: { width: 2, color: ink },
  }));
  const budget = { type: "line", name: "budget", x0: state.budget, x1: state.budget, yref: "paper", y0: 0, y1: 1 };
  return [...shapes, ...rings, ...(state.budget === null ? [] : [{ ...budget, line: { width: 1 } }])];
}

function draw(plot) {
  drawn.add(plot);
  const { data, layout } = structuredClone(report.figures[plot.id]);
  if (plot.id === "tradeoff") along({ data, layout });
  for (const trace of data.filter(({ meta }) => meta === "points")) {
    trace.hovertext = trace.customdata.map((id) => report.points[id].hover);
  }
  const touch = matchMedia("(pointer: coarse)").matches;
  const shown = { ...layout, template: theme(), uirevision: `${state.axis.key} ${layout.xaxis.title?.text}`, dragmode: touch ? false : "zoom" };
  const known = plot.classList.contains("js-plotly-plot");
  const options = { ...config, displayModeBar: plot.id === "tradeoff" ? "hover" : false };
  return Plotly.react(plot, data, shown, options).then(() => {
    if (!known) plot.on("plotly_click", (event) => pick(event.points[0].customdata));
  });
}

function redraw() {
  drawn.forEach(draw);
}

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

// Names and values, beside those of the other point where two are compared.
function measures(pairs, others) {
  const second = new Map(others);
  const names = [...new Set([...pairs, ...(others ?? [])].map(([name]) => name))];
  const first = new Map(pairs);
  return names.map((name) => {
    const line = document.createElement("div");
    line.append(element("dt", name), element("dd", first.get(name) ?? "-"));
    if (others) line.append(element("dd", second.get(name) ?? "-"));
    return line;
  });
}

function choose(id) {
  if (!Object.hasOwn(report.points, id) || !document.getElementById("chosen")) return;
  state.chosen = id;
  show();
}

// A point that was pointed at: the budget goes to it.
function pick(id) {
  if (!Object.hasOwn(report.points, id)) return;
  state.budget = null;
  choose(id);
  for (const name of ["budget", "slide"]) {
    const input = document.getElementById(name);
    if (input && at(id)) input.value = (Math.floor(100 * at(id)[1]) / 100).toFixed(2);
  }
}

// The card, the layers and the rings say what was chosen.
function show() {
  const [point, other] = [report.points[state.chosen], report.points[state.pinned]];
  const panel = document.getElementById("chosen");
  panel.classList.toggle("two", Boolean(other));
  panel.querySelector("h3").textContent = other ? `${point.title}, ${other.title}` : point.title;
  panel.querySelector(".main").replaceChildren(...measures(point.facts, other?.facts));
  panel.querySelector(".varied").replaceChildren(...measures(point.varied, other?.varied));
  panel.querySelector(".fixed").replaceChildren(...measures(point.fixed, other?.fixed));
  panel.querySelector("h4").hidden = point.varied.length === 0;
  panel.querySelector("details").hidden = point.fixed.length === 0;
  panel.querySelector(".command").hidden = !point.command;
  panel.querySelector("code").textContent = point.command;
  const compare = panel.querySelector(".compare");
  compare.hidden = false;
  compare.textContent = other ? "Stop comparing" : "Compare with another";
  for (const row of document.querySelectorAll("tr[data-point]")) {
    if (row.dataset.point === state.chosen) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
  bars(state.chosen);
  const chosen = new URLSearchParams({ point: state.chosen, by: state.axis.key });
  history.replaceState(null, "", `#${chosen}`);
  again();
}

function again() {
  const plot = document.getElementById("tradeoff");
  const { layout } = report.figures.tradeoff;
  if (drawn.has(plot)) Plotly.relayout(plot, { shapes: structuredClone(marked(layout.shapes)) });
}

// After what all its points stand on has changed.
function anew() {
  const plot = document.getElementById("tradeoff");
  if (drawn.has(plot)) draw(plot);
}

// A bar for each layer: all of it what the layer cost, the full part what it keeps.
function bars(id) {
  const { names, dense, reasons, points } = report.layers;
  const section = document.getElementById("layers");
  section.hidden = !points[id];
  if (section.hidden) return;
  const widest = Math.max(...dense);
  section.querySelector("ol").replaceChildren(...points[id].map(([place, macs, scheme, rank, full], index) => {
    const line = document.createElement("li");
    const [bar, kept] = [element("span", "", "bar"), element("i", "", rank ? "" : "dense")];
    bar.style.width = `${Math.max(1, (100 * dense[place]) / widest)}%`;
    kept.style.width = `${(100 * macs) / dense[place]}%`;
    bar.append(kept);
    const track = element("span", "", "track");
    track.append(bar);
    const what = rank ? `${scheme}, rank ${rank} of ${full}` : `dense: ${reasons[scheme]}`;
    line.append(element("span", names[place], "name"), track, element("span", what, "what"));
    const spectrum = report.layers.spectra[id]?.[index];
    if (rank && spectrum?.length > 1) line.append(curve(spectrum, rank / full));
    return line;
  }));
}

// Singular values over the largest, on a logarithmic scale of four decades, and where the cut is.
function curve(values, cut) {
  const space = "http://www.w3.org/2000/svg";
  const make = (tag, attributes) => {
    const made = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const x = (place) => (100 * place) / (values.length - 1);
  const y = (value) => -6 * Math.max(-4, Math.log10(Math.max(value, 1e-9)));
  const path = values.map((value, place) => `${x(place).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const drawing = make("svg", { viewBox: "0 -1 100 26", preserveAspectRatio: "none", role: "img" });
  drawing.setAttribute("aria-label", `Singular values, cut at ${Math.round(100 * cut)} % of the full rank`);
  drawing.append(make("rect", { x: 0, y: -1, width: 100 * cut, height: 26 }), make("polyline", { points: path }));
  return drawing;
}

function meet(budget) {
  const known = report.eligible.filter(at);
  const fast = known.filter((id) => at(id)[1] >= budget);
  const answer = document.getElementById("answer");
  state.budget = budget > 0 ? budget : null;
  answer.textContent = "";
  if (fast.length) {
    const rank = (id) => [report.points[id].y, at(id)[1]];
    choose(fast.reduce((best, next) => {
      const [[y, x], [otherY, otherX]] = [rank(best), rank(next)];
      return otherY > y || (otherY === y && otherX > x) ? next : best;
    }));
  } else if (budget > 0) {
    const most = Math.max(...known.map((id) => at(id)[1]));
    answer.textContent = known.length
      ? `No network is that small; the smallest reaches ${most.toFixed(2)}×.`
      : "No network was measured so.";
    again();
  }
}

// The slider goes as far as the smallest network does.
function reach() {
  const sure = report.eligible.filter(at).map((id) => at(id)[1]);
  const slide = document.getElementById("slide");
  slide.max = Math.max(1, ...sure).toFixed(2);
}

function count(key) {
  state.axis = axisOf(key);
  reach();
  anew();
  meet(Number(document.getElementById("budget").value));
}

function ask(budget, from) {
  for (const id of ["budget", "slide"]) {
    if (id !== from) document.getElementById(id).value = budget;
  }
  meet(budget);
}

function compare() {
  state.pinned = state.pinned === null ? state.chosen : null;
  show();
}

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

function showAll(button) {
  const { layout } = report.figures.tradeoff;
  const everything = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(everything));
  for (const [name, range] of Object.entries(report.windows[everything ? "all" : "near"])) {
    layout[name].range = range;
  }
  const update = { "yaxis.range": layout.yaxis.range };
  if (state.axis === report.axes[0]) update["xaxis.range"] = layout.xaxis.range;
  Plotly.relayout("tradeoff", structuredClone(update));
}

function showPublished(button) {
  state.published = !state.published;
  button.setAttribute("aria-pressed", String(state.published));
  anew();
}

function byHours(button) {
  const hours = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(hours));
  const figure = report.figures.volume;
  const [line] = figure.data;
  [line.x, line.meta.hours] = [line.meta.hours, line.x];
  figure.layout.xaxis.title.text = hours ? "hours of training, all workers" : "trials scored";
  draw(document.getElementById("volume"));
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  if (button.matches(".copy")) copy(button);
  if (button.matches(".point")) pick(button.closest("tr").dataset.point);
  if (button.matches(".everything")) showAll(button);
  if (button.matches(".compare")) compare();
  if (button.matches(".hours")) byHours(button);
  if (button.matches(".published")) showPublished(button);
});

if (document.getElementById("budget")) {
  for (const id of ["budget", "slide"]) {
    document.getElementById(id).addEventListener("input", ({ target }) => ask(Number(target.value), id));
  }
  const axis = document.getElementById("axis");
  axis.value = state.axis.key;
  axis.addEventListener("change", () => count(axis.value));
  reach();
}
const asked = wanted.get("point");
const start = Object.hasOwn(report.points, asked) ? asked : report.start;
if (start !== null) pick(start);
if (report.running) setTimeout(() => location.reload(), 20000);

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    draw(target);
  }
}, { rootMargin: "600px" });
plots.forEach((plot) => seen.observe(plot));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("beforeprint", () => plots.filter((plot) => !drawn.has(plot)).forEach(draw));
