// Tables that sort, filter and download; no library.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

/** An element with attributes and children (text is never read as markup). */
function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const valueOf = (cell) => (cell ? cell.dataset.value ?? cell.textContent.trim() : "");

/** Numbers by size, texts by alphabet; empty cells last whatever the direction. */
function compare(first, second, direction) {
  if (first === "" || second === "") return (first === "") - (second === "");
  const numbers = [Number(first), Number(second)];
  const order = numbers.some(Number.isNaN)
    ? first.localeCompare(second, "en", { numeric: true })
    : numbers[0] - numbers[1];
  return direction * order;
}

function sortTable(table, column, header) {
  const ascending = header.getAttribute("aria-sort") === "descending" || !header.hasAttribute("aria-sort") && header.classList.contains("text");
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compare(valueOf(a.cells[column]), valueOf(b.cells[column]), ascending ? 1 : -1));
  table.tBodies[0].append(...rows);
}

/** A row stays when it is of the chosen base and holds every word of the filter. */
function filterTable(table) {
  const words = document.querySelector(`[data-filter="${table.id}"]`).value.toLowerCase().split(/\s+/).filter(Boolean);
  const base = document.querySelector(`[data-filter-base="${table.id}"]`).value;
  const rows = [...table.tBodies[0].rows];
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = Boolean(base && row.dataset.base !== base) || !words.every((word) => text.includes(word));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  document.querySelector(`[data-count="${table.id}"]`).textContent = `${shown} of ${rows.length}`;
}

function save(text, name) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}

/** A table as it stands; line breaks within a cell become spaces. */
function downloadTable(table, name) {
  const text = (cell) => `"${cell.textContent.trim().replace(/\s+/g, " ").replaceAll('"', '""')}"`;
  save([...table.rows].map((row) => [...row.cells].map(text).join(",")).join("\n") + "\n", name);
}

function downloadCsv() {
  const rows = [...byId("recipe-table").tBodies[0].rows].filter((row) => !row.hidden);
  const text = [data.csv.header, ...rows.map((row) => data.csv.rows[row.dataset.path])].join("\n") + "\n";
  save(text, "recipes.csv");
}

for (const button of document.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => downloadTable(byId(button.dataset.save), `${button.dataset.save}.csv`));
}
for (const table of document.querySelectorAll("[data-table]")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => sortTable(table, column, header));
  });
  document.querySelector(`[data-filter="${table.id}"]`).addEventListener("input", () => filterTable(table));
  document.querySelector(`[data-filter-base="${table.id}"]`).addEventListener("change", () => filterTable(table));
  filterTable(table);
}
byId("csv").addEventListener("click", downloadCsv);
