"use strict";
// Filters, sorting and figures at full size for whoever has scripts; without them everything is there, in the papers' order.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// --- filters: an item that names verdicts, data or papers is shown where it has the chosen ones

const bar = document.getElementById("filter"), selects = all("select", bar), told = bar.querySelector("output");
const fits = (item) => selects.every(({ name, value }) => !value || !(name in item.dataset) || item.dataset[name].split("|").includes(value));

function filter() {
  const chosen = selects.some((select) => select.value), items = all("main [data-paper], main [data-verdict]");
  for (const item of items) item.hidden = !fits(item);
  for (const part of all("[data-part]")) {
    const left = all("[data-paper]:not([hidden])", part).length;
    part.hidden = chosen && left === 0;
    if (part.dataset.part === "folded") part.open = part.open || (chosen && left > 0);
    for (const count of all(".count", part)) count.textContent = left;
  }
  const left = (kind) => `${all(`:is(${kind})[data-paper]:not([hidden])`).length} of ${all(`:is(${kind})[data-paper]`).length}`;
  told.value = `${left("li, tr")} claims, ${left("section")} tables`;
}

bar.hidden = false;
bar.addEventListener("change", filter);
bar.querySelector("button").addEventListener("click", () => { selects.forEach((select) => { select.value = ""; }); filter(); });
filter();

// --- sorting: up, down, and as it was; what is no value stays last

const text = (row, i) => (row.cells[i]?.firstChild?.textContent ?? "").trim().replace("−", "-");
const order = (a, b) => (isNaN(parseFloat(a)) || isNaN(parseFloat(b)) ? a.localeCompare(b) : parseFloat(a) - parseFloat(b));

function sort(head, body, rows, i) {
  const way = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort") ?? "none"];
  for (const other of all("th[aria-sort]", head.closest("table"))) other.removeAttribute("aria-sort");
  if (way !== "none") head.setAttribute("aria-sort", way);
  const sign = { none: 0, ascending: 1, descending: -1 }[way], empty = (row) => ["", "–"].includes(text(row, i));
  body.append(...(sign ? rows.toSorted((a, b) => empty(a) - empty(b) || sign * order(text(a, i), text(b, i))) : rows));
}

for (const table of all("table.sortable")) {
  const body = table.tBodies[0], rows = [...body.rows];
  all("thead tr:last-child > *", table).forEach((head, i) => {
    if (head.tagName !== "TH") return;
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(head, body, rows, i));
  });
}

// --- figures at full size, and everything unfolded on paper

const dialog = document.createElement("dialog"), close = document.createElement("button"), large = document.createElement("div");
close.textContent = "Close";
dialog.append(close, large);
document.body.append(dialog);
close.addEventListener("click", () => dialog.close());
for (const link of all("a.whole")) link.addEventListener("click", (event) => {
  event.preventDefault();
  const picture = link.firstElementChild.cloneNode();
  large.replaceChildren(picture);
  dialog.setAttribute("aria-label", picture.alt);
  dialog.showModal();
});
addEventListener("beforeprint", () => all("details").forEach((part) => { part.open = true; }));
