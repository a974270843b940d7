// Figures: drawn when they come into view, in the colours of the current theme.
"use strict";

const figures = new Map(); // element -> figure to show there
const visible = new Set();
const probe = element("span", { hidden: "" });
document.body.append(probe);

/** What a colour such as `var(--law)` is in the current theme. */
function colour(name) {
  probe.style.color = name;
  return getComputedStyle(probe).color;
}

/** A copy of a figure with every CSS variable replaced by its colour. */
function themed(value) {
  if (typeof value === "string") return value.startsWith("var(--") ? colour(value) : value;
  if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(themed);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v)]));
  return value;
}

function axis(own) {
  const text = own.title ? own.title.text : "";
  return {
    gridcolor: colour("var(--line)"), linecolor: colour("var(--line)"), zeroline: false, automargin: true, ...own,
    title: { text, font: { size: 12, color: colour("var(--muted)") }, standoff: 10 },
  };
}

function layoutOf(figure) {
  const own = themed(figure.layout);
  return {
    ...own, xaxis: axis(own.xaxis), yaxis: axis(own.yaxis), autosize: true,
    margin: { l: 56, r: 16, t: 18, b: 48 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("var(--ink)") },
    hoverlabel: { bgcolor: colour("var(--surface)"), bordercolor: colour("var(--line)"), font: { color: colour("var(--ink)") }, align: "left" },
  };
}

const CONFIG = { responsive: true, displaylogo: false, displayModeBar: false, doubleClick: "autosize", plotlyServerURL: "", showLink: false };

function draw(place) {
  const figure = figures.get(place);
  if (!figure || !visible.has(place)) return;
  const fresh = !place.classList.contains("js-plotly-plot");
  Plotly.react(place, themed(figure.data), layoutOf(figure), CONFIG);
  if (fresh) place.on("plotly_click", (event) => clicked(event.points[0].customdata));
}

/** What a point stands for comes into view: a recipe, or a layer of the network whose spectra are shown. */
function clicked(what) {
  if (what in data.chains) inspect(what);
  else if (data.spectra.length && what in network().rows) { byId("spectra-layer").value = what; showLayer(); }
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) { visible.delete(entry.target); continue; }
    visible.add(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "200px" });

/** Show a figure in a place, or hide the place if there is none. */
function show(id, figure) {
  const place = byId(id);
  place.closest("figure").classList.toggle("without", !figure);
  place.hidden = !figure;
  figures.set(place, figure);
  watcher.observe(place);
  draw(place);
}

/** Fill a select with (value, label) pairs; keeps the choice if it is still there. */
function fill(select, pairs) {
  const kept = select.value;
  select.replaceChildren(...pairs.map(([value, label]) => element("option", { value }, label)));
  if (pairs.some(([value]) => value === kept)) select.value = kept;
  select.disabled = pairs.length < 2;
}

// --- trade-offs -------------------------------------------------------------------------------------------------------

function showPareto() {
  const costs = data.pareto[byId("pareto-base").value] || {};
  const backends = Object.keys(costs).filter((cost) => cost.startsWith("latency:"));
  fill(byId("pareto-backend"), backends.map((cost) => [cost, cost.slice("latency:".length)]));
  show("pareto-bits", costs.bits);
  show("pareto-macs", costs.macs);
  show("pareto-latency", costs[byId("pareto-backend").value]);
  byId("pareto-untimed").hidden = backends.length > 0;
}

// --- spectra ----------------------------------------------------------------------------------------------------------

const FIT_TITLES = { sigma_plus: "σ₊", fit_error: "fit error", bulk_fraction: "bulk", spikes: "spikes", spike_mass: "spike mass", hill: "Hill" };

function network() { return data.spectra[Number(byId("spectra-network").value)]; }

function showNetwork() {
  const { columns, rows, figures: layers, network: overview } = network();
  for (const [name, figure] of Object.entries(overview)) show(`spectra-${name}`, figure);
  fill(byId("spectra-layer"), Object.keys(rows).map((key) => [key, key]));
  if (!Object.keys(layers[byId("spectra-layer").value]).length) {
    const fitted = Object.keys(rows).find((key) => Object.keys(layers[key]).length);
    if (fitted) byId("spectra-layer").value = fitted;
  }
  const titles = columns.map((name) => element("th", { scope: "col", class: "number" }, FIT_TITLES[name] || name));
  const body = Object.entries(rows).map(([key, values]) => element("tr", { "data-key": key },
    element("th", { scope: "row" }, element("button", { type: "button", class: "link code" }, key)),
    ...values.map((value) => element("td", { class: "number" }, shown(value)))));
  byId("spectra-table").replaceChildren(
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Layer"), ...titles)), element("tbody", {}, ...body));
  showLayer();
}

function showLayer() {
  const key = byId("spectra-layer").value;
  const seeds = network().figures[key];
  fill(byId("spectra-seed"), Object.keys(seeds).map((seed) => [seed, seed]));
  for (const row of byId("spectra-table").tBodies[0].rows) row.classList.toggle("chosen", row.dataset.key === key);
  byId("spectra-reason").hidden = Object.keys(seeds).length > 0;
  byId("spectra-reason").textContent = `Not fitted: ${network().reasons[key]}`;
  showSpectrum();
}

function showSpectrum() {
  show("spectra-plot", network().figures[byId("spectra-layer").value][byId("spectra-seed").value]);
}

/** A number in at most four significant digits. */
function shown(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
}

function startPlots() {
  for (const [name, figure] of Object.entries(data.analyses)) show(`analysis-${name}`, figure);
  for (const id of ["pareto-base", "pareto-backend"]) byId(id).addEventListener("change", showPareto);
  showPareto();
  if (data.spectra.length) {
    fill(byId("spectra-network"), data.spectra.map((entry, index) => [String(index), entry.title]));
    byId("spectra-network").addEventListener("change", showNetwork);
    byId("spectra-layer").addEventListener("change", showLayer);
    byId("spectra-seed").addEventListener("change", showSpectrum);
    byId("spectra-table").addEventListener("click", (event) => {
      const row = event.target.closest("button") && event.target.closest("tr");
      if (row) { byId("spectra-layer").value = row.dataset.key; showLayer(); }
    });
    showNetwork();
  }
}

// --- theme ------------------------------------------------------------------------------------------------------------

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const redraw = () => figures.forEach((_, place) => draw(place));
byId("theme").addEventListener("click", () => {
  const dark = (document.documentElement.style.colorScheme || (prefersDark.matches ? "dark" : "light")) === "dark";
  document.documentElement.style.colorScheme = dark ? "light" : "dark";
  redraw();
});
prefersDark.addEventListener("change", redraw);
