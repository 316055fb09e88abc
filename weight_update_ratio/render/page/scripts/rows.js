// Which rows are seen, in which order, and which window of them the heat map shows.

// One row a tensor: the chosen one, else that of its worst worker.
function one_a_tensor(allowed, row_chosen) {
  const first = new Map();
  for (const row of [...(allowed(row_chosen) ? [row_chosen] : []), ...worst_first]) {
    const tensor = rows.data.tensor[row];
    if (allowed(row) && !first.has(tensor)) first.set(tensor, row);
  }
  return new Set(first.values());
}

function seen_rows() {
  const [part, sort, split, only] = ["part", "sort", "split", "only"].map(name => arrangement.data[name][0]);
  const { tensor, worker } = rows.data;
  const among = only === null ? null : new Set(only);
  const has_part = name => name.toLowerCase().includes(part.toLowerCase());
  const allowed = row => (among === null || among.has(row)) && (has_part(tensor[row]) || (split && has_part(worker[row])));
  const one = split ? null : one_a_tensor(allowed, selection.data.row[0]);
  const order = [...worst_first];
  if (sort !== "worst") order.sort((a, b) => a - b);
  if (sort === "name") order.sort((a, b) => (tensor[a] < tensor[b] ? -1 : tensor[a] > tensor[b] ? 1 : a - b));
  return order.filter(row => (one === null ? allowed(row) : one.has(row)));
}

function arrange() {
  const seen = seen_rows();
  const gap = 0.1; // between rows
  const y = rows.data.tensor.map(() => layout.out_of_sight);
  seen.forEach((row, place) => { y[row] = place - 0.5 + gap / 2; });
  rows.data = { ...rows.data, y, dh: y.map(() => 1 - gap) };
  const top = Array.from(runs.data.row, row => y[row]);
  const below = pixels => top.map(edge => edge + pixels * (1 - gap));
  runs.data = { ...runs.data, top, y: below(0.5), bottom: below(1) };
  scroll_to(0);
  frame_chosen();
  shown.data = { ...shown.data, rows: [seen] };
}

// The figures begin and end at the same place, whatever is seen of the labels.
function align() {
  const labels = rows.data[window.innerWidth < 600 ? "short" : "label"];
  const left = Math.max(72, 14 + 6 * Math.max(...labels.map(label => label.length)));
  for (const figure of [heat, ratio, norm]) figure.min_border_left = left;
}

// Shows as many rows as there is room for, from ``first`` on.
function scroll_to(first) {
  const count = Math.max(shown_count(), 1);
  const room = Math.max(1, Math.floor(heat.inner_height / layout.row));
  const begin = Math.max(0, Math.min(first, count - room)) - 0.5;
  const end = begin + Math.min(room, count);
  heat.y_range.setv({ start: end, end: begin, reset_start: end, reset_end: begin, bounds: [-0.5, count - 0.5] });
}

function shown_count() {
  return Array.from(rows.data.y).filter(top => top !== layout.out_of_sight).length;
}

function frame_chosen() {
  const row = selection.data.row[0];
  chosen.setv({ top: rows.data.y[row], bottom: rows.data.y[row] + rows.data.dh[row] });
}
