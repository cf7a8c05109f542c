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

function draw(plot) {
  drawn.add(plot);
  const { data, layout } = structuredClone(report.figures[plot.id]);
  for (const trace of data.filter(({ meta }) => meta === "points")) {
    trace.hovertext = trace.customdata.map((id) => report.points[id].hover);
  }
  const touch = matchMedia("(pointer: coarse)").matches;
  const shown = { ...layout, template: theme(), uirevision: "kept", dragmode: touch ? false : "zoom" };
  const known = plot.classList.contains("js-plotly-plot");
  const options = { ...config, displayModeBar: plot.id === "tradeoff" ? "hover" : false };
  return Plotly.react(plot, data, shown, options).then(() => {
    if (!known) plot.on("plotly_click", (event) => choose(event.points[0].customdata));
  });
}

function redraw() {
  drawn.forEach(draw);
}

const measures = (pairs) => pairs.map(([name, value]) => {
  const line = document.createElement("div");
  for (const [tag, text] of [["dt", name], ["dd", value]]) {
    const element = document.createElement(tag);
    element.textContent = text;
    line.append(element);
  }
  return line;
});

function choose(id) {
  const point = report.points[id];
  const panel = document.getElementById("chosen");
  if (!point || !panel) return;
  panel.querySelector("h3").textContent = point.title;
  panel.querySelector(".main").replaceChildren(...measures(point.facts));
  panel.querySelector(".varied").replaceChildren(...measures(point.varied));
  panel.querySelector(".fixed").replaceChildren(...measures(point.fixed));
  panel.querySelector("h4").hidden = point.varied.length === 0;
  panel.querySelector("details").hidden = point.fixed.length === 0;
  panel.querySelector(".command").hidden = !point.command;
  panel.querySelector("code").textContent = point.command;
  for (const row of document.querySelectorAll("tr[data-point]")) {
    if (row.dataset.point === id) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
  const ring = report.figures.tradeoff.data.at(-1);
  [ring.x, ring.y] = [[point.x], [point.y]];
  const plot = document.getElementById("tradeoff");
  if (drawn.has(plot)) draw(plot);
}

function meet(budget) {
  const fast = report.front.filter((point) => point.speedup >= budget);
  const answer = document.getElementById("answer");
  answer.textContent = "";
  if (fast.length) {
    choose(fast.reduce((best, next) => (next.accuracy >= best.accuracy ? next : best)).id);
  } else if (budget > 0) {
    const fastest = Math.max(...report.front.map((point) => point.speedup));
    answer.textContent = `No point of the front is that fast; the fastest reaches ${fastest.toFixed(2)}×.`;
  }
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
  const update = { "xaxis.range": layout.xaxis.range, "yaxis.range": layout.yaxis.range };
  Plotly.relayout("tradeoff", structuredClone(update));
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  if (button.matches(".copy")) copy(button);
  if (button.matches(".point")) choose(button.closest("tr").dataset.point);
  if (button.matches(".everything")) showAll(button);
});

const budget = document.getElementById("budget");
if (budget) budget.addEventListener("input", () => meet(Number(budget.value)));
if (report.start) choose(report.start);

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
