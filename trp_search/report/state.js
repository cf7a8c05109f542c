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
  within: Number(wanted.get("milliseconds")) || null,
  published: wanted.has("published"),
  everything: wanted.has("everything"),
  chosen: null,
};

// The address keeps what the reader chose and nothing that follows from the run: a page that renews
// itself goes on to a better point by itself, and stays where the reader put it.
function remember() {
  const { own, budget, within, pinned, axis, published, everything } = state;
  const kept = { point: own, budget, milliseconds: within, with: pinned, by: axis.key, published, everything };
  const chosen = new URLSearchParams(Object.entries(kept).filter(([, value]) => value));
  history.replaceState(null, "", `#${chosen}`);
}

// How many times smaller a point is: as measured, and the ends of what is sure.
const at = (id) => report.points[id].at[state.axis.key];
const metric = (id) => report.points[id].y;
const gain = (id) => report.sign * metric(id); // larger is better
const byMacs = () => state.axis === report.axes[0];
const onClock = () => /^(time|predicted):/.test(state.axis.key);
const duration = (id) => report.points[id].milliseconds[state.axis.key]; // of a batch, the upper end

// Whether a point is larger than the baseline for sure, as a time may be.
const slower = (id) => at(id)[2] < 1;

// Every point that was measured so, the largest network first.
function inOrder() {
  const found = Object.keys(report.points).filter(at);
  return found.sort((a, b) => at(a)[0] - at(b)[0] || gain(b) - gain(a));
}

// The points that no other beats in the metric and in what is sure on this axis, the slowest first;
// none of them is slower than the baseline.
function front() {
  const found = report.eligible.filter((id) => at(id) && !slower(id));
  found.sort((a, b) => at(b)[1] - at(a)[1] || gain(b) - gain(a));
  let best = -Infinity;
  return found.filter((id) => gain(id) > best && ((best = gain(id)), true)).reverse();
}

// Those of the front that are better than the next faster one beyond chance, as `rows.py` has it.
function distinct(steps) {
  return steps.filter((id, place) => place === steps.length - 1 || apart(id, steps[place + 1]));
}

// Whether one is better beyond chance: Newcombe's interval of the difference, as in `Score.beyond`.
function apart(one, other) {
  const [more, less] = report.sign > 0 ? [one, other] : [other, one];
  const [low, high] = [report.points[more].interval[0], report.points[less].interval[1]];
  return metric(more) - metric(less) > Math.hypot(metric(more) - low, high - metric(less));
}
