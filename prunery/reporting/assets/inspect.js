// One recipe in detail: its chain of stages, its learning curves, its layers.
"use strict";

const LAYER_TITLES = ["Layer", "Type", "Parameters", "Non-zero", "Sparsity", "Bits", "MACs"];

function settingsOf(settings) {
  const entries = Object.entries(settings || {});
  if (!entries.length) return element("p", { class: "none" }, "default settings");
  const list = element("dl", { class: "settings" });
  for (const [name, value] of entries) {
    list.append(element("dt", {}, name), element("dd", {}, typeof value === "object" ? JSON.stringify(value) : String(value)));
  }
  return list;
}

/** One stage of a chain as a list item. */
function stageItem(path) {
  const { record, hash, intact } = data.stages[path];
  const origin = [record.distribution, record.version].filter(Boolean).join(" ");
  const lineage = { true: "parent's hash matches", false: "parent has changed since", null: "first of its line" }[String(intact)];
  const head = element("p", { class: "stage" }, element("b", {}, record.stage || path), ` ${record.variant || ""}`);
  const facts = element("p", { class: "facts" }, `method ${record.method || "unknown"}${origin ? ` (${origin})` : ""}`);
  const digests = [["record", hash], ["code", record.fingerprint], ["parent", record.parent]].filter(([, digest]) => digest);
  const hashes = element("p", { class: "hashes" }, ...digests.map(([name, digest]) =>
    element("span", { title: digest }, `${name} `, element("code", {}, digest.slice(0, 12)))));
  const details = element("details", {}, element("summary", {}, "settings"), settingsOf(record.settings));
  return element("li", { class: intact === false ? "broken" : "" }, head, facts, hashes,
    element("p", { class: "lineage" }, lineage), details);
}

function showCurves() {
  const curves = data.curves[byId("inspect-stage").value];
  byId("inspect-untrained").hidden = Boolean(curves);
  show("curve-loss", curves && curves.loss);
  show("curve-accuracy", curves && curves.accuracy);
}

function layerTable(rows) {
  const head = element("thead", {}, element("tr", {}, ...LAYER_TITLES.map((title, index) =>
    element("th", { scope: "col", class: index > 1 ? "number" : "" }, title))));
  const cells = (row) => row.slice(2).map((value, index) =>
    element("td", { class: "number" }, index === 2 ? `${(100 * value).toFixed(1)} %` : shown(value)));
  const body = rows.map((row) => element("tr", {}, element("th", { scope: "row", class: "code" }, row[0]), element("td", {}, row[1]), ...cells(row)));
  return [head, element("tbody", {}, ...body)];
}

function showRecipe() {
  const path = byId("inspect-recipe").value;
  const chain = data.chains[path];
  byId("inspect-chain").replaceChildren(...chain.map(stageItem));
  const taught = chain.filter((stage) => stage in data.curves);
  fill(byId("inspect-stage"), taught.map((stage) => [stage, stage.split("/").slice(taught.length > 1 && stage.includes("=") ? -1 : 0).join("/")]));
  if (taught.length) byId("inspect-stage").value = taught[taught.length - 1];
  showCurves();
  byId("inspect-layers").replaceChildren(...layerTable(data.layers[path] || []));
}

/** Go to a recipe's details. */
function inspect(path) {
  byId("inspect-recipe").value = path;
  showRecipe();
  byId("inspect").scrollIntoView({ behavior: "smooth" });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-inspect]");
  if (button && button.dataset.inspect in data.chains) inspect(button.dataset.inspect);
});
startPlots();
if (byId("inspect-recipe")) {
  byId("inspect-recipe").addEventListener("change", showRecipe);
  byId("inspect-stage").addEventListener("change", showCurves);
  showRecipe();
}
