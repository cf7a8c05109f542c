"use strict";

const report = JSON.parse(document.getElementById("report-data").textContent);

// What the reader chose: the way of counting, a point or a budget, a point to compare with, what is
// shown. `chosen` is the point that follows from it and is on the card.
const wanted = new URLSearchParams(location.hash.slice(1));
const known = (id) => (Object.hasOwn(report.points, id) ? id : null);
const axisOf = (key) => report.axes.find((axis) => axis.key === key) ?? report.axes[0];
const state = {
  axis: axisOf(wanted.get("by")),
  own: known(wanted.get("point")),
  pinned: known(wanted.get("with")),
  budget: Number(wanted.get("budget")) || null,
  published: wanted.has("published"),
  everything: wanted.has("everything"),
  chosen: null,
};

// The address keeps what the reader chose and nothing that follows from the run: a page that renews
// itself goes on to a better point by itself, and stays where the reader put it.
function remember() {
  const { own, budget, pinned, axis, published, everything } = state;
  const kept = { point: own, budget, with: pinned, by: axis.key, published, everything };
  const chosen = new URLSearchParams(Object.entries(kept).filter(([, value]) => value));
  history.replaceState(null, "", `#${chosen}`);
}

// How many times smaller a point is: as measured, and the ends of what is sure.
const at = (id) => report.points[id].at[state.axis.key];
const accuracy = (id) => report.points[id].y;
const byMacs = () => state.axis === report.axes[0];

// Every point that was measured so, the largest network first.
function inOrder() {
  const found = Object.keys(report.points).filter(at);
  return found.sort((a, b) => at(a)[0] - at(b)[0] || accuracy(b) - accuracy(a));
}

// The points that no other beats in accuracy and in what is sure on this axis, the slowest first.
function front() {
  const found = report.eligible.filter(at);
  found.sort((a, b) => at(b)[1] - at(a)[1] || accuracy(b) - accuracy(a));
  let best = -Infinity;
  return found.filter((id) => accuracy(id) > best && ((best = accuracy(id)), true)).reverse();
}

// Those of the front that are more accurate than the next faster one beyond chance, as `rows.py` has it.
function distinct(steps) {
  return steps.filter((id, place) => place === steps.length - 1 || apart(id, steps[place + 1]));
}

function apart(one, other) {
  const [[p, n], [q, m]] = [one, other].map((id) => {
    const { images, y } = report.points[id];
    return [((y / 100) * images + 1) / (images + 2), images + 2];
  });
  return p - q > 1.96 * Math.sqrt((p * (1 - p)) / n + (q * (1 - q)) / m);
}
