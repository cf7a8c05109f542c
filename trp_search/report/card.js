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
  if (known(id) === null || !document.getElementById("chosen")) return;
  state.chosen = id;
  show();
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
  again();
}

// A bar for each layer: all of it what the layer cost, the full part what it keeps; its title says both.
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
    const what = rank ? `${scheme}, rank ${rank} of ${full}` : reasons[scheme];
    line.title = `${names[place]}: ${what}; keeps ${macs.toLocaleString("en")} of `
      + `${dense[place].toLocaleString("en")} multiply-adds`;
    line.setAttribute("aria-label", line.title);
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
