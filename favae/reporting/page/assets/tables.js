// Tables: sort by a column, show the rows that contain a text, copy.
"use strict";
(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    const data = cell.dataset.value;
    if (data === undefined) return cell.textContent.trim().toLowerCase();
    return data === "" ? null : Number.isNaN(Number(data)) ? data.toLowerCase() : Number(data);
  };

  /** Rows without a value stay last in both directions. */
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  };

  const sort = (button) => {
    const head = button.closest("th"), table = button.closest("table"), body = table.tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const column = Number(button.dataset.column), sign = down ? -1 : 1;
    const rows = [...body.rows].map((row) => [value(row, column), row]);
    rows.sort((a, b) => compare(a[0], b[0], sign));
    body.append(...rows.map(([, row]) => row));
    favae.say(`Sorted by ${button.textContent.trim()}, ${down ? "descending" : "ascending"}`);
  };

  const filter = (field) => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of document.getElementById(field.dataset.filter).tBodies[0].rows) {
      const text = row.cells[0].textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.matches(".sort")) sort(button);
    else if (button?.matches(".copies .copy")) {
      const { table, kind } = button.dataset;
      favae.load("numbers").then(({ texts }) => favae.copy(texts[table][kind], button.textContent.trim()));
    }
  });
  document.addEventListener("input", (event) => { if (event.target.matches("[data-filter]")) filter(event.target); });
})();
