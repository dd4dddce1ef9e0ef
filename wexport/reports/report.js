// SPDX-License-Identifier: MIT
// Sorting, filtering and copying for the report. Part of wexport; no other script is loaded.
"use strict";

(() => {
  const key = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();

  // Empty cells stay last whichever way one sorts; numbers are compared as numbers.
  const compare = (a, b, up) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const difference = Number(a) - Number(b);
    const order = Number.isNaN(difference) ? a.localeCompare(b, undefined, { numeric: true }) : difference;
    return up ? order : -order;
  };

  const sort = (table, header) => {
    const up = header.getAttribute("aria-sort") !== "ascending";
    const column = header.cellIndex;
    const body = table.tBodies[0];
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...body.rows].sort((one, two) => compare(key(one, column), key(two, column), up));
    body.append(...rows);
  };

  const filter = (input, table, told) => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    told.textContent = words.length ? `${shown} of ${table.tBodies[0].rows.length} rows` : "";
  };

  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => sort(button.closest("table"), button.closest("th")));
  }
  for (const input of document.querySelectorAll("input[data-filters]")) {
    const table = document.getElementById(input.dataset.filters);
    const told = input.closest(".tools").querySelector("[role=status]");
    input.addEventListener("input", () => filter(input, table, told));
  }
  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copies).textContent;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "copied";
      } catch {
        // A page opened from disk may not write to the clipboard: select the text, so that Ctrl-C does.
        getSelection().selectAllChildren(document.getElementById(button.dataset.copies));
        button.textContent = "selected: press Ctrl-C";
      }
    });
  }

  // A link to a layer opens it, and everything that it stands in.
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let here = target; here; here = here.parentElement) if (here.tagName === "DETAILS") here.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();

  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details.layer")) details.open = true;
  });
})();
