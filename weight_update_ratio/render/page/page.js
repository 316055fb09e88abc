// Lets cards, rows and strips choose a comparison, which the charts show; the table is filtered and sorted.
"use strict";

const element = id => document.getElementById(id);
const all = selector => Array.from(document.querySelectorAll(selector));
const state = JSON.parse(element("state").textContent);
const body = element("tensors").tBodies[0];
const rows = Array.from(body.rows); // the worst first, as they come; a row's number is its place here
const number_of = new Map(rows.map((row, number) => [row, number]));
const several = element("split") !== null;
const tensors = rows.map(row => { const link = row.querySelector("a"); return link.title || link.textContent; });
const workers = rows.map(row => (several ? row.cells[2].textContent : ""));
const strips = rows.map(row => row.querySelector("div"));
const mark = document.createElement("i");
mark.id = "mark";

let model; // returns bokeh's model of a name
let points; // the comparisons of all rows, in columns
let chosen = 0; // row
let point = 0; // comparison of it
let card = -1; // the card whose rows alone are shown, or -1

async function start() {
  document.documentElement.classList.add("scripted");
  element("controls").hidden = element("charts").hidden = false;
  follow_controls();
  follow_cards();
  follow_heads();
  follow_rows();
  const figures = state.document.roots.filter(root => root.attributes.name !== "points");
  const roots = Object.fromEntries(figures.map(root => [root.id, root.attributes.name]));
  await Bokeh.embed.embed_items({ charts: state.document }, [{ docid: "charts", roots, root_ids: Object.keys(roots) }]);
  model = name => Bokeh.documents[0].get_model_by_name(name);
  points = model("points").data;
  const [first] = state.cards;
  if (first !== undefined && first.row >= 0) select(first.row, state.starts[first.row] + first.comparison);
  else select(0, worst_of(0));
  filter();
  window.addEventListener("hashchange", select_from_address);
  select_from_address();
  document.documentElement.classList.add("ready");
}

// ---- which rows are shown

function filter() {
  const part = element("part").value.toLowerCase();
  const split = several && element("split").checked;
  const among = card < 0 ? null : new Set(state.cards[card].rows);
  const has_part = row => tensors[row].toLowerCase().includes(part) || (split && workers[row].toLowerCase().includes(part));
  const seen = new Set(); // tensors
  const shown = new Set();
  for (const row of [chosen, ...rows.keys()]) { // of a tensor the chosen row, else that of its worst worker
    if (!has_part(row) || (among !== null && !among.has(row)) || (!split && seen.has(tensors[row]))) continue;
    seen.add(tensors[row]);
    shown.add(row);
  }
  rows.forEach((row, number) => { row.hidden = !shown.has(number); });
  const count = split ? rows.length : new Set(tensors).size;
  element("count").textContent = `${shown.size.toLocaleString("en")} of ${count.toLocaleString("en")} rows`;
  element("all").hidden = card < 0;
  all("#cards button").forEach((button, number) => {
    button.setAttribute("aria-pressed", String(number === card));
    button.closest("article").classList.toggle("chosen", number === card);
  });
}

function show_all() {
  card = -1;
  element("part").value = "";
  filter();
}

function follow_controls() {
  element("controls").addEventListener("input", filter);
  element("controls").addEventListener("submit", event => event.preventDefault());
  element("all").addEventListener("click", show_all);
}

function follow_cards() {
  all("#cards button").forEach((button, number) => {
    const article = button.closest("article");
    article.addEventListener("click", () => {
      const copied = window.getSelection();
      if (!copied.isCollapsed && article.contains(copied.anchorNode)) return;
      const { row, comparison } = state.cards[number];
      card = number;
      element("part").value = "";
      if (row >= 0) select(row, state.starts[row] + comparison);
      filter();
      show_chosen();
      write_address();
    });
  });
}

// A click on a head sorts: in one direction, in the other, and as it was.
function follow_heads() {
  const heads = all("#tensors thead th");
  heads.forEach((head, column) => {
    const is_name = head.matches(".tensor, .worker");
    const [first, second] = is_name || column === 0 ? ["ascending", "descending"] : ["descending", "ascending"];
    head.querySelector("button")?.addEventListener("click", () => {
      const next = { [first]: second, [second]: null }[head.ariaSort] ?? (head.ariaSort === null ? first : null);
      for (const other of heads) other.ariaSort = other === head ? next : null;
      const key = row => { const text = row.cells[column].textContent; return is_name ? text : as_number(text); };
      const keys = new Map(rows.map(row => [row, key(row)]));
      const sign = next === "descending" ? -1 : 1;
      const order = (a, b) => {
        const [left, right] = [keys.get(a), keys.get(b)];
        if (left !== left || right !== right) return (left !== left) - (right !== right); // NaN is always last
        return sign * (left < right ? -1 : left > right ? 1 : 0);
      };
      body.replaceChildren(...(next === null ? rows : [...rows].sort(order)));
    });
  });
}

function as_number(text) {
  return text === "inf" ? Infinity : Number(text.replaceAll(",", ""));
}

// ---- which comparison is chosen

function follow_rows() {
  body.addEventListener("click", event => {
    const row = number_of.get(event.target.closest("tr"));
    if (row === undefined) return;
    event.preventDefault(); // of its link, which is for a page without scripts
    choose(row, strips[row].contains(event.target) ? point_at(row, event.clientX) : worst_of(row));
  });
  body.addEventListener("keydown", event => {
    const next = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    let row = event.target.closest("tr")[next];
    while (row !== null && row.hidden) row = row[next];
    if (row === null) return;
    row.querySelector("a").focus();
    choose(number_of.get(row), worst_of(number_of.get(row)));
  });
  body.addEventListener("mousemove", event => {
    const row = number_of.get(event.target.closest("tr"));
    const tip = element("tip");
    tip.hidden = row === undefined || !strips[row].contains(event.target) || points === undefined;
    if (tip.hidden) return;
    tip.textContent = in_words(point_at(row, event.clientX));
    tip.style.left = `${Math.max(0, Math.min(event.clientX + 12, window.innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${event.clientY + (event.clientY > window.innerHeight / 2 ? -tip.offsetHeight - 12 : 16)}px`;
  });
  body.addEventListener("mouseleave", () => { element("tip").hidden = true; });
}

function points_of(row) {
  return Array.from({ length: state.starts[row + 1] - state.starts[row] }, (_, i) => state.starts[row] + i);
}

// The comparison that the link of a row names: its worst.
function worst_of(row) {
  return nearest(row, Number(new URLSearchParams(rows[row].querySelector("a").hash.slice(1)).get("step")));
}

function nearest(row, step) {
  const away = one => Math.abs(points.step[one] - step);
  return points_of(row).reduce((best, one) => (away(one) < away(best) ? one : best));
}

// The comparison below the mouse: a violation before others that are no wider apart than a bin.
function point_at(row, x) {
  const { left, width } = strips[row].getBoundingClientRect();
  const step = state.left + ((x - left) / width) * state.width;
  const near = points_of(row).filter(one => points.verdict[one] > 0 && Math.abs(points.step[one] - step) <= state.width / 480);
  return near.length > 0 ? near[0] : nearest(row, step);
}

function choose(row, one) {
  select(row, one);
  show_chosen();
  write_address();
}

function select(row, one) {
  rows[chosen].classList.remove("chosen");
  [chosen, point] = [row, one];
  rows[chosen].classList.add("chosen");
  strips[chosen].append(mark);
  mark.style.left = `${(100 * (points.step[point] - state.left)) / state.width}%`;
  const [name, text] = element("chosen").children;
  name.textContent = several ? `${tensors[row]} of ${workers[row]}` : tensors[row];
  text.textContent = in_words(point);
  draw();
}

function show_chosen() {
  rows[chosen].scrollIntoView({ block: "nearest" });
}

// A link to a tensor and step: #tensor=NAME&step=STEP, and &worker=NAME where there are several.
function select_from_address() {
  const asked = new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B"));
  const of_tensor = [...rows.keys()].filter(row => tensors[row] === asked.get("tensor"));
  const row = of_tensor.find(one => workers[one] === asked.get("worker")) ?? of_tensor[0];
  if (row === undefined) return;
  select(row, asked.has("step") ? nearest(row, Number(asked.get("step"))) : worst_of(row));
  filter();
  if (rows[row].hidden) show_all(); // what hides it ends
  show_chosen();
}

function write_address() {
  const names = { tensor: tensors[chosen], ...(several ? { worker: workers[chosen] } : {}), step: points.step[point] };
  const pairs = Object.entries(names).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  try {
    history.replaceState(null, "", "#" + pairs.join("&"));
  } catch {
    // a page in a frame, as in a notebook, has no address
  }
}

function in_words(one) {
  const [step, back] = [points.step[one], points.back[one]];
  const [ratio, update, weight] = ["ratios", "updates", "norms"].map(name => number(points[name][one]));
  const verdict = state.verdicts[points.verdict[one]].replace("_", " ");
  return `${state.mode} step ${step} against ${step - back}: ratio ${ratio}, update norm ${update}, weight norm ${weight}: ${verdict}`;
}

// A number to three digits, as the page has it elsewhere, of its log10.
function number(log) {
  if (Number.isNaN(log)) return "nan";
  if (!Number.isFinite(log)) return log > 0 ? "inf" : "0";
  const whole = Math.floor(log);
  const [digits, carried] = (10 ** (log - whole)).toExponential(2).split("e");
  const exponent = whole + Number(carried);
  if (exponent >= -4 && exponent < 3) return String(Number(`${digits}e${exponent}`));
  return `${Number(digits)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

// ---- the charts of the chosen row: they reach as far as its data, and break where steps were not compared

const NEAR = 1; // decades from the data within which a bound or the advice is drawn
const FAR = 6; // likewise for a bound that the data is beyond

function draw() {
  const here = points_of(chosen);
  const of = name => here.map(one => points[name][one]);
  const [ratios, updates, norms] = ["ratios", "updates", "norms"].map(of);
  const levels = model("ratio").center.filter(one => one.tags.includes("level")); // a line, or its label
  const at = level => level.location ?? level.y;
  const of_kind = kind => levels.filter(level => level.tags.includes(kind)).map(at);
  const banded = points.lower !== undefined;
  const [lower, upper] = ["lower", "upper"].map(kind => (banded ? of(kind) : of_kind(kind)));
  const ratio_ends = ends_of(ratios, lower, upper, of_kind("advice"));
  const norm_ends = ends_of([...updates, ...norms], [], [], []);
  model("lines").data = line_columns(here, banded, ratio_ends);
  set_range(model("ratio"), ratio_ends);
  set_range(model("norm"), norm_ends);
  for (const level of levels) level.visible = ratio_ends[0] < at(level) && at(level) < ratio_ends[1];
  const steps = of("step");
  model("ratio_edges").data = edge_marks(steps, { ratio: ratios }, ratio_ends);
  model("norm_edges").data = edge_marks(steps, { "update norm": updates, "weight norm": norms }, norm_ends);
  for (const name of ["ratio_mark", "norm_mark"]) model(name).location = points.step[point];
}

// Where a chart begins and ends: at its data, and at the bounds that are near.
function ends_of(values, lower, upper, advice) {
  const finite = values.filter(Number.isFinite);
  if (finite.length === 0) return [-4, -2];
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const near = [
    ...lower.filter(log => low - NEAR < log && log < high + (low < log ? FAR : NEAR)),
    ...upper.filter(log => low - (log < high ? FAR : NEAR) < log && log < high + NEAR),
    ...advice.filter(log => low - NEAR < log && log < high + NEAR),
  ];
  const [least, most] = [Math.min(low, ...near), Math.max(high, ...near)];
  const margin = Math.max(0.12 * (most - least), (0.7 - (most - least)) / 2);
  return [least - margin, most + margin];
}

// Ticks are logarithms of 1, 2 and 5 times powers of ten, or of powers alone, as many as there is room for.
function set_range(figure, [start, end]) {
  const room = 5;
  const mantissas = 3 * (end - start) < room ? [1, 2, 5] : 2 * (end - start) < room ? [1, 3] : [1];
  const stride = Math.max(1, Math.ceil((end - start) / room));
  const labels = new Map();
  for (let exponent = Math.floor(start / stride) * stride; exponent <= end; exponent += stride) {
    for (const mantissa of mantissas) {
      labels.set(exponent + Math.log10(mantissa), `${mantissa}e${exponent < 0 ? "" : "+"}${exponent}`);
    }
  }
  figure.left[0].major_label_overrides = labels;
  figure.left[0].ticker.ticks = [...labels.keys()].filter(tick => start <= tick && tick <= end);
  figure.y_range.setv({ start, end, reset_start: start, reset_end: end });
}

// What has no logarithm is drawn at the edge: zero at the bottom, not finite at the top.
function edge_marks(steps, columns, [low, high]) {
  const marks = { step: [], y: [], marker: [], text: [] };
  for (const [name, logs] of Object.entries(columns)) {
    logs.forEach((log, i) => {
      if (Number.isFinite(log)) return;
      marks.step.push(steps[i]);
      marks.y.push(log === -Infinity ? low + 0.05 * (high - low) : high - 0.05 * (high - low));
      marks.marker.push(log === -Infinity ? "circle" : "x");
      marks.text.push(`${name} ${number(log)} at ${state.mode} step ${steps[i]}`);
    });
  }
  return marks;
}

// The columns of the lines: before a point after a gap comes one without values, at which the lines break.
function line_columns(here, banded, [low, high]) {
  const drawable = log => (Number.isFinite(log) ? log : NaN);
  const records = [];
  for (const one of here) {
    const [ratio, update, weight] = ["ratios", "updates", "norms"].map(name => points[name][one]);
    const [least, most] = banded ? [points.lower[one], points.upper[one]] : [NaN, NaN];
    const record = {
      step: points.step[one], ratio: drawable(ratio), update: drawable(update), weight: drawable(weight),
      lower: Math.min(Math.max(least, low), high), upper: Math.max(Math.min(most, high), low), size: here.length > 80 ? 2 : 6,
      steps_text: `${state.mode} ${points.step[one]} against ${points.step[one] - points.back[one]}`,
      ratio_text: number(ratio), update_text: number(update), weight_text: number(weight),
      expected_text: banded ? `${number(least)} to ${number(most)}` : "",
    };
    if (points.gap[one]) records.push({ ...record, ratio: NaN, update: NaN, weight: NaN });
    records.push(record);
  }
  return Object.fromEntries(Object.keys(records[0]).map(name => [name, records.map(record => record[name])]));
}

start();
