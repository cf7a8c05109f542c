// A point that was pointed at: the budget goes to it.
function pick(id) {
  if (known(id) === null) return;
  free(id);
  choose(id);
  level();
  remember();
}

// The reader's point, in place of a budget.
function free(id) {
  [state.own, state.budget, state.within] = [id, null, null];
}

// The budget in its fields, but for the one that it came from: what was not asked for is as the
// chosen point has it, and a budget that it meets, so rounded to its side.
function fill(from) {
  if (state.chosen === null) return;
  const sizes = at(state.chosen);
  const shown = (value) => (Math.floor(100 * value) / 100).toFixed(2);
  const times = state.budget ?? (sizes ? shown(sizes[1]) : "");
  for (const id of ["budget", "slide"]) {
    if (id !== from) document.getElementById(id).value = times;
  }
  const own = duration(state.chosen);
  document.getElementById("clock").hidden = !onClock();
  if (!onClock() || from === "milliseconds") return;
  document.getElementById("milliseconds").value = state.within ?? (own ? upwards(own) : "");
}

// Three digits, not below the value.
function upwards(value) {
  const unit = 10 ** (Math.floor(Math.log10(value)) - 2);
  return Number((Math.ceil(value / unit) * unit).toPrecision(3));
}

// The fields as the chosen point has them.
function level() {
  if (!document.getElementById("budget") || !at(state.chosen)) return;
  fill();
  document.getElementById("answer").textContent = "";
}

// Without a budget: the reader's point, else the run's leader, where this axis has them, else its own.
function settle() {
  const id = [state.own, report.axes[0].start, state.axis.start].find((id) => id !== null && at(id));
  if (id === undefined) return;
  choose(id);
  level();
}

// The best point that keeps the budget.
function meet() {
  const found = report.eligible.filter(at);
  const fits = (id) => (state.within === null ? at(id)[1] >= state.budget : duration(id) <= state.within);
  const fast = found.filter(fits);
  const better = (a, b) => gain(b) - gain(a) || at(b)[1] - at(a)[1];
  let answer = "";
  if (!found.length) answer = "No network was measured on this axis.";
  else if (!fast.length) answer = `No network is that small; the smallest ${least(found)}.`;
  document.getElementById("answer").textContent = answer;
  if (fast.length) choose(fast.sort(better)[0]);
  else again();
}

function least(found) {
  if (state.within === null) return `reaches ${Math.max(...found.map((id) => at(id)[1])).toFixed(2)}×`;
  return `takes ${upwards(Math.min(...found.map(duration)))} ms`;
}

// A budget in times or, on a clock, in milliseconds: those of each network, not of the baseline.
function ask(kind, amount, from) {
  free(null);
  state[kind] = amount > 0 ? amount : null;
  meet();
  fill(from);
  remember();
}

// The slider goes as far as the networks do, rounded so that there is one at each end.
function reach() {
  const sure = report.eligible.filter(at).map((id) => at(id)[1]);
  const [low, high] = [Math.min(1, ...sure), Math.max(1, ...sure)];
  for (const id of ["budget", "slide"]) document.getElementById(id).min = Math.floor(100 * low) / 100;
  document.getElementById("slide").max = (Math.floor(100 * high) / 100).toFixed(2);
}

// A budget on one axis means nothing on another: the point that it led to goes along.
function count(key) {
  if (state.budget !== null || state.within !== null) free(state.chosen);
  state.axis = axisOf(key);
  reach();
  switches();
  anew();
  settle();
  remember();
}

function compare() {
  state.pinned = state.pinned === null ? state.chosen : null;
  show();
  remember();
}

// The points of the main figure in order, by keyboard.
function go(key) {
  const order = inOrder();
  const here = order.indexOf(state.chosen);
  const last = order.length - 1;
  const to = { ArrowLeft: Math.max(here - 1, 0), ArrowRight: Math.min(here + 1, last), Home: 0, End: last };
  if (!Object.hasOwn(to, key) || !order.length) return false;
  pick(order[to[key]]);
  return true;
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

// The two switches over the main figure.
function switches() {
  document.querySelector(".everything")?.setAttribute("aria-pressed", String(state.everything));
  const published = document.querySelector(".published");
  if (!published) return;
  published.disabled = !byMacs();
  published.title = byMacs() ? "" : "Papers count multiply-adds.";
  published.setAttribute("aria-pressed", String(byMacs() && state.published));
}

function showAll() {
  state.everything = !state.everything;
  switches();
  remember();
  const { x, y } = view();
  Plotly.relayout("tradeoff", { "xaxis.range": [...x], "yaxis.range": [...y] });
}

function showPublished() {
  state.published = !state.published;
  switches();
  remember();
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
  if (button.matches(".everything")) showAll();
  if (button.matches(".compare")) compare();
  if (button.matches(".hours")) byHours(button);
  if (button.matches(".published")) showPublished();
});

document.getElementById("tradeoff")?.addEventListener("keydown", (event) => {
  const plain = !(event.altKey || event.ctrlKey || event.metaKey || event.shiftKey);
  if (plain && go(event.key)) event.preventDefault();
});

switches();
if (document.getElementById("budget")) {
  for (const id of ["budget", "slide"]) {
    document.getElementById(id).addEventListener("input", ({ target }) => ask("budget", Number(target.value), id));
  }
  document.getElementById("milliseconds").addEventListener("input", ({ target }) => {
    if (target.value > 0) ask("within", Number(target.value), "milliseconds");
  });
  const axis = document.getElementById("axis");
  axis.value = state.axis.key;
  axis.addEventListener("change", () => count(axis.value));
  reach();
  if (!onClock()) state.within = null;
  const { budget, within } = state;
  settle();
  if (state.own === null && within !== null) ask("within", within);
  else if (state.own === null && budget !== null) ask("budget", budget);
}
if (state.own !== null) choose(state.own);
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
