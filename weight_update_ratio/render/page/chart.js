// What the picture does: it names its rows, describes a cell, sorts and filters rows, and fills the line charts.
// bokeh runs it as the body of a function whose arguments are the models and values that chart.py names.
"use strict";

const OUT_OF_SIGHT = -1000000;

// ---- numbers: norms and ratios come as log10, -Infinity for zero

function number(log) {
  if (Number.isNaN(log)) return "nan";
  if (log === Infinity) return "inf";
  if (log === -Infinity) return "0";
  if (log >= -4 && log < 4) return String(Number((10 ** log).toPrecision(4)));
  let exponent = Math.floor(log);
  let mantissa = (10 ** (log - exponent)).toFixed(2);
  if (mantissa === "10.00") [mantissa, exponent] = ["1.00", exponent + 1];
  return `${mantissa}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

// ---- rows and cells

function row_at(y) {
  return Array.from(rows.data.y).findIndex((top, row) => top <= y && y < top + rows.data.dh[row]);
}

function row_name(y) {
  const row = Number.isInteger(y) ? row_at(y) : -1;
  if (row < 0) return "";
  const name = Array.from(rows.data.label[row]);
  const [head, tail] = window.innerWidth < 600 ? [3, 14] : [19, 24]; // most names differ at their end
  if (name.length <= head + tail + 1) return name.join("");
  return name.slice(0, head).join("") + "\u2026" + name.slice(-tail).join("");
}

function cell_at(row, x) {
  const bin = Math.floor((x - rows.data.x[row]) / rows.data.width[row]);
  const point = rows.data.cells[row][bin];
  return point === undefined ? -1 : point;
}

function same_cell(row, x) {
  const bin = Math.floor((x - rows.data.x[row]) / rows.data.width[row]);
  const found = [];
  for (let point = rows.data.start[row]; point < rows.data.stop[row]; point++) {
    const step = points.data.step[point];
    if (Math.floor((step - rows.data.x[row]) / rows.data.width[row]) === bin) found.push(point);
  }
  return found;
}

function verdict(point) {
  return names.verdicts[points.data.verdict[point]].replace("_", " ");
}

function cell_summary(row, x) {
  const found = same_cell(row, x);
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
  if (field === "tensor") return rows.data.label[row];
  const point = cell_at(row, x);
  if (point < 0) return field === "cell" ? "not compared" : "\u2013";
  switch (field) {
    case "step": return `${names.mode} ${points.data.step[point]}`;
    case "against step": return String(points.data.reference[point]);
    case "update norm": return number(points.data.update_norm[point]);
    case "weight norm": return number(points.data.weight_norm[point]);
    case "ratio": return number(points.data.ratio[point]);
    case "verdict": return verdict(point);
    default: return cell_summary(row, x);
  }
}

// ---- sorting and filtering

function arrange() {
  const labels = rows.data.label;
  const order = labels.map((_, row) => row);
  if (sort.value === "worst") order.splice(0, order.length, ...worst_first);
  if (sort.value === "name") order.sort((a, b) => (labels[a] < labels[b] ? -1 : labels[a] > labels[b] ? 1 : a - b));
  const part = (filter.value_input || "").toLowerCase();
  const visible = order.filter(row => labels[row].toLowerCase().includes(part));
  const gap = visible.length > 60 ? 0 : 0.12; // between rows, where they are high enough
  const y = labels.map(() => OUT_OF_SIGHT);
  visible.forEach((row, place) => { y[row] = place - 0.5 + gap / 2; });
  rows.data = { ...rows.data, y, dh: labels.map(() => 1 - gap) };
  const top = Array.from(runs.data.row, row => y[row]);
  const middle = top.map(edge => edge + (1 - gap) / 2);
  const bottom_edge = top.map(edge => edge + 1 - gap);
  const size = top.map(() => (gap > 0 ? 10 : 5));
  const stroke = top.map(() => (gap > 0 ? 1.5 : 0.5));
  runs.data = { ...runs.data, y: middle, top, bottom: bottom_edge, size, stroke };
  const count = visible.length;
  const bottom = Math.max(count, 1) - 0.5;
  heat.y_range.setv({ start: bottom, end: -0.5, reset_start: bottom, reset_end: -0.5 });
  heat.height = layout.around + Math.max(Math.min(layout.row * Math.max(count, 2), layout.most), layout.least * count);
  row_ticker.desired_num_ticks = Math.max(1, Math.min(count, 45));
  shown.text = `${count} of ${labels.length} shown; click a row for its line charts`;
  frame_chosen();
}

function frame_chosen() {
  if (chosen.tags.length === 0) return;
  const [row] = chosen.tags;
  chosen.setv({ top: rows.data.y[row], bottom: rows.data.y[row] + rows.data.dh[row] });
}

// ---- the line charts of one row

function whole_decades(values, levels) {
  const finite = [...values, ...levels].filter(Number.isFinite);
  const low = finite.length ? Math.floor(Math.min(...finite)) : -1;
  const high = finite.length ? Math.ceil(Math.max(...finite)) : 1;
  const margin = 0.08 * Math.max(high - low, 1);
  return [low - margin, Math.max(high, low + 1) + margin];
}

function set_range(range, [start, end]) {
  range.setv({ start, end, reset_start: start, reset_end: end });
}

// What has no logarithm is drawn at the edge: zero at the bottom, not finite at the top.
function edge_marks(steps, columns, [low, high]) {
  const inside = 0.035 * (high - low);
  const marks = { step: [], y: [], marker: [], text: [] };
  for (const [name, values] of columns) {
    values.forEach((log, i) => {
      if (Number.isFinite(log)) return;
      marks.step.push(steps[i]);
      marks.y.push(log === -Infinity ? low + inside : high - inside);
      marks.marker.push(log === -Infinity ? "circle" : "x");
      marks.text.push(`${name} ${number(log)} at ${names.mode} step ${steps[i]}`);
    });
  }
  return marks;
}

// The bounds that are near the ratios: a layer that began at zero has bounds of many decades at its first step.
function near_bounds(ratio, lower, upper) {
  const finite = ratio.filter(Number.isFinite);
  const [low, high] = finite.length ? [Math.min(...finite) - 8, Math.max(...finite) + 8] : [-Infinity, Infinity];
  return [...lower, ...upper].filter(Number.isFinite).map(log => Math.min(Math.max(log, low), high));
}

function show(row, point) {
  chosen.tags = [row];
  const own = name => Array.from(points.data[name].slice(rows.data.start[row], rows.data.stop[row]));
  const drawable = values => values.map(log => (Number.isFinite(log) ? log : NaN));
  const [step, reference] = [own("step"), own("reference")];
  const [ratio, update, weight] = [own("ratio"), own("update_norm"), own("weight_norm")];
  const banded = points.data.lower !== undefined;
  const [lower, upper] = banded ? [own("lower"), own("upper")] : [[], []];
  const ratio_ends = whole_decades(ratio, banded ? near_bounds(ratio, lower, upper) : levels);
  lines.data = {
    step,
    ratio: drawable(ratio),
    lower: step.map((_, i) => (banded ? Math.max(lower[i], ratio_ends[0]) : NaN)),
    upper: step.map((_, i) => (banded ? Math.min(upper[i], ratio_ends[1]) : NaN)),
    expected_text: step.map((_, i) => (banded ? `${number(lower[i])} to ${number(upper[i])}` : "")),
    update: drawable(update),
    weight: drawable(weight),
    size: step.map(() => (step.length > 80 ? 2 : 6)),
    steps_text: step.map((s, i) => `${names.mode} ${s} against ${reference[i]}`),
    ratio_text: ratio.map(number),
    update_text: update.map(number),
    weight_text: weight.map(number),
  };
  const norm_ends = whole_decades([...update, ...weight], []);
  set_range(ratio_range, ratio_ends);
  set_range(norm_range, norm_ends);
  ratio_edges.data = edge_marks(step, [["ratio", ratio]], ratio_ends);
  norm_edges.data = edge_marks(step, [["update norm", update], ["weight norm", weight]], norm_ends);
  tensor_name.text = rows.data.label[row];
  if (tensor.value !== String(row)) tensor.value = String(row);
  frame_chosen();
  tell(point);
}

function tell(point) {
  const of = name => number(points.data[name][point]);
  cell.text =
    `${names.mode} step ${points.data.step[point]} against ${points.data.reference[point]}: ` +
    `ratio ${of("ratio")}, update norm ${of("update_norm")}, weight norm ${of("weight_norm")}: ${verdict(point)}`;
}

function on_event(source) {
  if (source === heat) {
    if (chosen.tags.length > 0) return; // the window changed its size
    arrange();
    show(worst_first[0], rows.data.worst[worst_first[0]]);
  } else if (source === filter || source === sort) {
    arrange();
  } else if (source === tensor) {
    const row = Number(tensor.value);
    if (row !== chosen.tags[0]) show(row, rows.data.worst[row]); // else it was this script that set it
  } else {
    const row = row_at(source.y);
    if (row < 0) return;
    const point = cell_at(row, source.x);
    show(row, point < 0 ? rows.data.worst[row] : point);
  }
}
