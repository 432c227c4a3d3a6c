/** The charts of HA status: the last 60 minutes of an instance, drawn when its details are opened. */

const REFRESH_MS = 10_000;
const HEIGHT = 150;
const SERIES = [
  ["Sessions", "sessions", ""],
  ["Heartbeat age", "heartbeat_age_secs", "s"],
  ["Loop lag", "loop_lag_ms", "ms"],
  ["Valkey latency", "valkey_latency_ms", "ms"],
  ["Memory", "memory_mib", "MiB"],
];

const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const drawn = new WeakMap();
// Loaded with the first chart: most readers open none.
let uPlot = null;

// The event does not bubble.
document.addEventListener("toggle", ({ target }) => target.matches?.("details.history") && refresh(), { capture: true });
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens).open = true;
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => open().forEach(redraw));
window.addEventListener("resize", () => open().forEach(fit));
setInterval(() => document.hidden || refresh(), REFRESH_MS);
if (location.hash.startsWith("#history-")) document.getElementById(location.hash.slice(1))?.setAttribute("open", "");

function open() {
  return [...document.querySelectorAll("details.history[open]")];
}

async function refresh() {
  const shown = open();
  if (!shown.length) return;
  try {
    const response = await fetch("/api/v1/ha/history", { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error();
    const { step_secs: step, instances } = await response.json();
    uPlot ??= (await import("./vendor/uplot/uPlot.esm.js")).default;
    for (const details of shown) show(details, instances[details.dataset.instance], step);
  } catch {
    for (const details of shown) {
      const place = details.querySelector("[data-charts]");
      if (!place.hasChildNodes()) place.textContent = "The charts could not be loaded. They are tried again.";
    }
  }
}

function show(details, history, step) {
  if (!history) return;
  const start = Date.parse(history.from) / 1000;
  const times = history.sessions.map((_, at) => start + at * step);
  const data = seriesOf(details).map(([, name]) => [times, history[name]]);
  const charts = drawn.get(details);
  if (charts) charts.plots.forEach((plot, at) => plot.setData(data[at]));
  drawn.set(details, { data, plots: charts?.plots ?? draw(details, data) });
}

/** A single instance has no latency of Valkey. */
function seriesOf(details) {
  const names = details.dataset.series.split(" ");
  return SERIES.filter(([, name]) => names.includes(name));
}

function redraw(details) {
  const charts = drawn.get(details);
  if (!charts) return;
  charts.plots.forEach((plot) => plot.destroy());
  charts.plots = draw(details, charts.data);
}

function fit(details) {
  drawn.get(details)?.plots.forEach((plot) => plot.setSize({ width: plot.root.parentElement.clientWidth, height: HEIGHT }));
}

function draw(details, data) {
  const place = details.querySelector("[data-charts]");
  const colours = getComputedStyle(place);
  const colour = (name) => colours.getPropertyValue(`--chart-${name}`);
  place.replaceChildren();
  return seriesOf(details).map(([label, , unit], at) => {
    const figure = place.appendChild(document.createElement("figure"));
    const caption = figure.appendChild(document.createElement("figcaption"));
    caption.textContent = unit ? `${label}, ${unit}` : label;
    const axis = { stroke: colour("text"), grid: { stroke: colour("grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const options = {
      width: figure.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, y: false },
      scales: { y: { range: (_, least, most) => [0, most > 0 ? most * 1.1 : 1] } },
      axes: [{ ...axis, space: 60, size: 28, values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 44, space: 30 }],
      series: [{}, { stroke: colour("line"), width: 1.5, fill: colour("fill"), points: { show: true, size: 4, fill: colour("line"), filter: lonely } }],
      hooks: { setCursor: [(plot) => (caption.textContent = reading(plot, label, unit))] },
    };
    const plot = new uPlot(options, data[at], figure);
    plot.root.setAttribute("role", "img");
    plot.root.setAttribute("aria-label", `${label} of ${details.dataset.instance}; the table below has the figures`);
    return plot;
  });
}

/** The values between two missing minutes, which a line does not show. */
function lonely(plot, series) {
  const values = plot.data[series];
  const isMissing = (at) => values[at] === null || values[at] === undefined;
  return [...values.keys()].filter((at) => !isMissing(at) && isMissing(at - 1) && isMissing(at + 1));
}

/** The caption: the label, and the value under the pointer. */
function reading({ cursor, data }, label, unit) {
  const value = cursor.idx === null || cursor.idx === undefined ? null : data[1][cursor.idx];
  const title = unit ? `${label}, ${unit}` : label;
  if (value === null || value === undefined) return title;
  return `${title}: ${value} at ${clock(data[0][cursor.idx])}`;
}

function clock(secs) {
  return CLOCK.format(secs * 1000);
}
