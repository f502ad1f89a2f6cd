// Tables that sort by a click on a column's head: numbers as numbers, what is missing last.
"use strict";

function compare(a, b, descending) {
  const missing = (value) => value === null || value === undefined;
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  const both = typeof a === "number" && typeof b === "number";
  const order = both ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  return descending ? -order : order;
}

// columns: [{title, value(row), show(row), number, best: "max"|"min"}]; rows: anything.
function sortable(columns, rows, attributes) {
  const body = el("tbody");
  const heads = [];
  let order = [...rows];

  function fill() {
    body.replaceChildren(...order.map((row) => el("tr", {}, columns.map((column) => {
      const value = column.value(row);
      const isBest = column.best && value !== null && value === column.bestValue;
      const content = column.show ? column.show(row) : shown(value === null ? undefined : value);
      const text = typeof content === "string" ? content : "";
      const kind = [column.number ? "number" : "", isBest ? "best" : ""].join(" ").trim();
      return el("td", { class: kind, title: text.length > 40 ? text : null }, content);
    }))));
  }

  function sortBy(index) {
    const descending = heads[index].getAttribute("aria-sort") === "ascending";
    heads.forEach((head, i) => {
      if (i === index) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const value = columns[index].value;
    order.sort((a, b) => compare(value(a), value(b), descending));
    fill();
  }

  columns.forEach((column, index) => {
    if (column.best) {
      const values = rows.map(column.value).filter((value) => typeof value === "number");
      column.bestValue = new Set(values).size > 1 ? Math[column.best](...values) : undefined;
    }
    const button = el("button", { type: "button", onclick: () => sortBy(index) }, column.title);
    heads.push(el("th", { scope: "col", class: column.number ? "number" : "" }, button));
  });
  fill();
  return el("table", attributes || {}, el("thead", {}, el("tr", {}, heads)), body);
}
