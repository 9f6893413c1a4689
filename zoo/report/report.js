// Tables are sorted by a click on a column's name, and by the keyboard; a second click turns the order.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  if (table.tBodies[0].rows.length < 2) continue;
  heads.forEach((head, place) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      const key = (row) => row.cells[place];
      const numbers = rows.some((row) => key(row)?.dataset.number !== undefined);
      rows.sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (!numbers) return x.textContent.localeCompare(y.textContent) * (down ? -1 : 1);
        const [p, q] = [x, y].map((cell) => (cell?.dataset.number === undefined ? NaN : Number(cell.dataset.number)));
        if (Number.isNaN(p) || Number.isNaN(q)) return Number.isNaN(p) - Number.isNaN(q);
        return (p - q) * (down ? -1 : 1);
      });
      table.tBodies[0].append(...rows);
    });
  });
}
for (const cell of document.querySelectorAll("[data-source]")) {
  const reason = cell.getAttribute("title");
  cell.setAttribute("title", reason ? `${reason}\n${cell.dataset.source}` : cell.dataset.source);
}
