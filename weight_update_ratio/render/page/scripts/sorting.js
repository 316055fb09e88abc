// The table of tensors is sorted by a click on a column's head: up, down, and as it was.

function sort_by_heads() {
  const table = by_id("tensors");
  const body = table.tBodies[0];
  const worst_first = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, place) => {
    const button = head.querySelector("button");
    if (button === null) return;
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const next = { null: "descending", descending: "ascending", ascending: null }[before];
      for (const other of heads) other.removeAttribute("aria-sort");
      if (next !== null) head.setAttribute("aria-sort", next);
      const rows = next === null ? worst_first : sorted_rows(worst_first, place, next === "descending" ? -1 : 1);
      body.replaceChildren(...rows);
    });
  });
}

function sorted_rows(rows, place, sign) {
  const keys = new Map(rows.map(row => [row, row.cells[place].textContent.replaceAll(",", "")]));
  const is_name = place === 0 || rows.some(row => keys.get(row) !== "nan" && Number.isNaN(as_number(keys.get(row))));
  const order = (a, b) => {
    if (is_name) return -sign * (keys.get(a) < keys.get(b) ? -1 : keys.get(a) > keys.get(b) ? 1 : 0);
    const [left, right] = [as_number(keys.get(a)), as_number(keys.get(b))];
    if (Number.isNaN(left) || Number.isNaN(right)) return Number.isNaN(left) - Number.isNaN(right); // always last
    return sign * (left < right ? -1 : left > right ? 1 : 0);
  };
  return [...rows].sort(order);
}

function as_number(text) {
  return text === "inf" ? Infinity : text === "" ? NaN : Number(text);
}
