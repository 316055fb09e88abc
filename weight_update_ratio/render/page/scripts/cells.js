// Rows and cells of the heat map: what is at a place, and what a person reads of it.
// bokeh runs it as the body of a function whose arguments are the models and values that chart.py names.

function row_at(y) {
  return Array.from(rows.data.y).findIndex((top, row) => top <= y && y < top + rows.data.dh[row]);
}

function row_label(y) {
  const row = Number.isInteger(y) ? row_at(y) : -1;
  return row < 0 ? "" : rows.data[window.innerWidth < 600 ? "short" : "label"][row];
}

function bin_at(row, step) {
  return Math.floor((step - rows.data.x[row]) / rows.data.width[row]);
}

// The worst point of the cell at a step, or -1.
function cell_at(row, step) {
  const bin = bin_at(row, step);
  if (bin < 0 || bin >= Math.round(rows.data.dw[row] / rows.data.width[row])) return -1;
  const point = cells.data.point[rows.data.first_cell[row] + bin];
  return point < 0 ? -1 : rows.data.start[row] + point;
}

function points_of(row) {
  return Array.from({ length: rows.data.stop[row] - rows.data.start[row] }, (_, i) => rows.data.start[row] + i);
}

function verdict(point) {
  return names.verdicts[points.data.verdict[point]].replace("_", " ");
}

function reference(point) {
  return points.data.step[point] - points.data.back[point];
}

function cell_summary(row, step) {
  const found = points_of(row).filter(point => bin_at(row, points.data.step[point]) === bin_at(row, step));
  if (found.length < 2) return "one comparison";
  const ratios = found.map(point => points.data.ratio[point]);
  const finite = ratios.filter(log => !Number.isNaN(log) && log !== Infinity);
  const steps = found.map(point => points.data.step[point]);
  const span = `steps ${Math.min(...steps)} to ${Math.max(...steps)}`;
  if (finite.length === 0) return `${span}, none finite`;
  const rest = finite.length < ratios.length ? ", some not finite" : "";
  return `${span}: ${number(Math.min(...finite))} to ${number(Math.max(...finite))}${rest}; the worst is named`;
}

function hover_field(x, field, vars) {
  const row = vars.image_index === undefined || vars.image_index === null ? vars.index : vars.image_index.index;
  if (field === "tensor" || field === "worker") return rows.data[field][row];
  const point = cell_at(row, x);
  if (point < 0) return field === "cell" ? "not compared" : "\u2013";
  switch (field) {
    case "step": return `${names.mode} ${points.data.step[point]}`;
    case "against step": return String(reference(point));
    case "update norm": return number(points.data.update_norm[point]);
    case "weight norm": return number(points.data.weight_norm[point]);
    case "ratio": return number(points.data.ratio[point]);
    case "verdict": return verdict(point);
    default: return cell_summary(row, x);
  }
}
