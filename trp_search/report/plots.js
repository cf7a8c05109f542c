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
    // Marks that are strokes alone, such as an x, have no fill to take from the colourway.
    data: { scatter: [{ marker: { line: { color: ink } } }] },
  };
}

const isPoints = ({ meta }) => ["points", "pale", "hollow", "clear"].includes(meta);

// What part of the plane is in view: around the front or everything, what was published as well.
function view() {
  let { xaxis: x, yaxis: y } = report.windows[state.everything ? "all" : "near"];
  if (!byMacs()) {
    const ends = inOrder().filter((id) => gain(id) >= report.sign * y[0]).flatMap(at);
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const half = 0.57 * Math.max(high - low, 0.4);
    x = [(low + high) / 2 - half, (low + high) / 2 + half];
  } else if (state.published) {
    const others = report.figures.tradeoff.data.find(({ meta }) => meta === "published");
    const widened = ([low, high], values, margin) =>
      [Math.min(low, Math.min(...values) - margin), Math.max(high, Math.max(...values) + margin)];
    if (others) [x, y] = [widened(x, others.x, 0.1), widened(y, others.y, 0.5)];
  }
  return { x, y };
}

// The main figure as the reader wants it.
function along({ data, layout }) {
  if (!byMacs()) {
    layout.xaxis.title.text = state.axis.title;
    regroup(data);
  }
  for (const trace of data) {
    if (trace.meta === "repeats") trace.visible = byMacs();
    if (trace.meta === "slower") crossed(trace);
    if (trace.meta === "published") trace.visible = byMacs() && state.published;
    if (trace.error_y) whiskers(trace);
  }
  const { x, y } = view();
  [layout.xaxis.range, layout.yaxis.range] = [x, y];
  layout.shapes = marked(layout.shapes);
}

// Points where they are on another axis than the figure was written for. Trials are large or hollow
// by the front there, whose steps go by what is sure.
function regroup(data) {
  const steps = front();
  const clear = new Set(distinct(steps));
  const look = (id) => (clear.has(id) ? "clear" : steps.includes(id) ? "hollow" : "pale");
  const trials = data.filter(({ meta }) => ["pale", "hollow", "clear"].includes(meta));
  const named = (trace) => trials.filter(({ legendgroup }) => legendgroup === trace.legendgroup);
  const members = trials.map((trace) => named(trace).flatMap(({ customdata }) => customdata));
  trials.forEach((trace, place) => {
    trace.customdata = members[place].filter((id) => look(id) === trace.meta);
  });
  for (const trace of data) {
    if (trace.meta === "front") {
      [trace.x, trace.y] = [steps.map((id) => at(id)[1]), steps.map(metric)];
    }
    if (!isPoints(trace)) continue;
    trace.customdata = trace.customdata.filter(at).sort((a, b) => at(a)[0] - at(b)[0]);
    [trace.x, trace.y] = [trace.customdata.map((id) => at(id)[0]), trace.customdata.map(metric)];
    trace.mode = "markers"; // what is in order of one cost need not be of another
  }
  for (const trace of trials) {
    trace.showlegend = named(trace).findLast(({ x }) => x.length > 0) === trace;
  }
}

// On a clock, crosses over the points that are slower than the baseline.
function crossed(trace) {
  const found = onClock() ? inOrder().filter(slower) : [];
  [trace.x, trace.y] = [found.map((id) => at(id)[0]), found.map(metric)];
  trace.visible = found.length > 0;
}

// 95 % intervals: of the metric, and of a time on the clock.
function whiskers(trace) {
  const span = (ends, middle) => ({
    ...trace.error_y,
    array: trace.customdata.map((id) => ends(id)[1] - middle(id)),
    arrayminus: trace.customdata.map((id) => middle(id) - ends(id)[0]),
  });
  if (state.axis.key.startsWith("time:")) trace.error_x = span((id) => at(id).slice(1), (id) => at(id)[0]);
  trace.error_y = span((id) => report.points[id].interval, metric);
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
  // A budget in milliseconds is elsewhere for each network: its line is at the one that it led to.
  const x = state.budget ?? (state.within !== null && chosen.length ? at(state.chosen)?.[1] : null);
  const budget = { type: "line", name: "budget", x0: x, x1: x, yref: "paper", y0: 0, y1: 1 };
  return [...shapes, ...rings, ...((x ?? null) === null ? [] : [{ ...budget, line: { width: 1 } }])];
}

// As many lines as the legend's entries fill, one after the other, below the axis and its title.
function roomy(plot, data, layout) {
  const { l, r, t } = layout.margin;
  const width = plot.clientWidth - l - r;
  let [lines, filled] = [1, 0];
  for (const { name, showlegend, visible } of data) {
    if (!name || showlegend === false || visible === false) continue;
    const wide = 56 + 7 * name.length;
    if (filled && filled + wide > width) [lines, filled] = [lines + 1, 0];
    filled += wide;
  }
  const [inside, above] = [260, 52];
  const below = above + 30 * lines;
  plot.style.height = `${t + inside + below}px`;
  layout.margin.b = below;
  Object.assign(layout.legend, { y: -above / inside, maxheight: 30 * lines });
}

function draw(plot) {
  drawn.add(plot);
  const { data, layout } = structuredClone(report.figures[plot.id]);
  if (plot.id === "tradeoff") {
    along({ data, layout });
    roomy(plot, data, layout);
  }
  for (const trace of data.filter(isPoints)) {
    trace.hovertext = trace.customdata.map((id) => report.points[id].hover);
  }
  const touch = matchMedia("(pointer: coarse)").matches;
  const uirevision = `${state.axis.key} ${layout.xaxis.title?.text}`;
  const shown = { ...layout, template: theme(), uirevision, dragmode: touch ? false : "zoom" };
  const begun = plot.classList.contains("js-plotly-plot");
  const options = { ...config, displayModeBar: plot.id === "tradeoff" ? "hover" : false };
  return Plotly.react(plot, data, shown, options).then(() => {
    if (!begun) plot.on("plotly_click", (event) => pick(event.points[0].customdata));
  });
}

function redraw() {
  drawn.forEach(draw);
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

let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return; // on a phone, bars that come and go change the height alone
  width = innerWidth;
  anew();
});
