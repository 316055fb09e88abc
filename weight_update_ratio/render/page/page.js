// Cards, rows and strips choose a comparison, which the charts show; the table is filtered and sorted.
"use strict";

const element = id => document.getElementById(id);
const all = selector => Array.from(document.querySelectorAll(selector));
const { charts, starts, worst, left, width, mode, verdicts, cards } = JSON.parse(element("state").textContent);
const rows = all("#tensors tbody tr"); // the worst first, as they come; a row's number is its index here
const links = rows.map(row => row.querySelector("a"));
const strips = rows.map(row => row.querySelector("div"));
const tensors = links.map(link => link.title || link.textContent);
const workers = rows.map(row => row.querySelector(".worker")?.textContent ?? "");
const buttons = all("#cards button");

let model; // returns bokeh's model of a name
let points; // the comparisons of all rows, in columns
let chosen = 0; // number of a row
let card = -1; // number of the card whose rows alone are shown

async function start() {
  document.documentElement.classList.add("scripted");
  element("controls").hidden = element("charts").hidden = false;
  filter();
  const roots = Object.fromEntries(charts.roots.map(root => [root.id, root.attributes.name]));
  await Bokeh.embed.embed_items({ charts }, [{ docid: "charts", roots, root_ids: Object.keys(roots) }]);
  model = name => Bokeh.documents[0].get_model_by_name(name);
  points = model("points").data;
  element("controls").addEventListener("input", filter);
  element("all").addEventListener("click", () => show_card(-1));
  buttons.forEach((button, number) => button.closest("article").addEventListener("click", () => click_card(number)));
  for (const button of all("thead button")) button.addEventListener("click", () => sort(button.parentElement));
  const body = element("tensors").tBodies[0];
  body.addEventListener("click", click_row);
  body.addEventListener("keydown", move_by_key);
  document.addEventListener("mousemove", show_tip);
  window.addEventListener("hashchange", select_from_address);
  const first = cards.find(({ row }) => row >= 0);
  select(first?.row ?? 0, first?.point ?? worst[0]);
  select_from_address();
}

// ---- rows

// Shows one row a tensor: the chosen one, else that of its worst worker; or a row for each worker.
function filter() {
  const part = element("part").value.toLowerCase();
  const split = element("split")?.checked ?? false;
  const of_card = new Set(cards[card]?.rows ?? rows.keys());
  const shown = new Map();
  for (const row of [chosen, ...rows.keys()]) {
    const text = split ? `${tensors[row]}\n${workers[row]}` : tensors[row];
    const key = split ? row : tensors[row];
    if (of_card.has(row) && text.toLowerCase().includes(part) && !shown.has(key)) shown.set(key, rows[row]);
  }
  const seen = new Set(shown.values());
  for (const row of rows) row.hidden = !seen.has(row);
  const most = split ? rows.length : new Set(tensors).size;
  element("count").textContent = `${shown.size.toLocaleString("en")} of ${most.toLocaleString("en")} rows`;
}

function show_card(number) {
  card = number;
  element("part").value = "";
  element("all").hidden = number < 0;
  buttons.forEach((button, other) => { button.ariaPressed = other === number; });
  filter();
}

function click_card(number) {
  const copied = window.getSelection();
  if (!copied.isCollapsed && buttons[number].closest("article").contains(copied.anchorNode)) return;
  show_card(number);
  element("ratios").scrollIntoView({ block: window.innerWidth < 1100 ? "start" : "nearest" });
  if (cards[number].row >= 0) choose(cards[number].row, cards[number].point);
}

// A click on a head sorts in one direction, then in the other, then as it was.
function sort(head) {
  const column = head.cellIndex;
  const is_name = head.matches(".tensor, .worker");
  const directions = ["ascending", "descending"];
  if (!is_name && column > 0) directions.reverse();
  const next = [...directions, null][directions.indexOf(head.ariaSort) + 1];
  for (const other of all("thead th")) other.ariaSort = other === head ? next : null;
  const sign = next === "ascending" ? 1 : -1;
  const lost = { nan: sign * Infinity, inf: Infinity };
  const value = text => lost[text] ?? Number(text.replaceAll(",", ""));
  const key = row => (is_name ? row.cells[column].textContent : value(row.cells[column].textContent));
  const keys = new Map(rows.map(row => [row, key(row)]));
  const order = (a, b) => sign * ((keys.get(a) > keys.get(b)) - (keys.get(a) < keys.get(b)));
  element("tensors").tBodies[0].replaceChildren(...(next === null ? rows : [...rows].sort(order)));
}

function click_row(event) {
  if (event.ctrlKey || event.metaKey) return; // a new window, by its link
  event.preventDefault();
  const row = rows.indexOf(event.target.closest("tr"));
  choose(row, strips[row].contains(event.target) ? point_at(row, event.clientX) : worst[row]);
}

function move_by_key(event) {
  const next = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  let row = event.target.closest("tr")[next];
  while (row?.hidden) row = row[next];
  if (row === null) return;
  row.querySelector("a").focus();
  choose(rows.indexOf(row), worst[rows.indexOf(row)]);
}

function show_tip(event) {
  const row = strips.findIndex(strip => strip.contains(event.target));
  const tip = element("tip");
  tip.hidden = row < 0;
  if (tip.hidden) return;
  tip.textContent = in_words(point_at(row, event.clientX));
  tip.style.left = `${Math.min(event.clientX + 12, window.innerWidth - tip.offsetWidth)}px`;
  tip.style.top = `${event.clientY + 16}px`;
}

// ---- comparisons

function points_of(row) {
  return Array.from({ length: starts[row + 1] - starts[row] }, (_, i) => starts[row] + i);
}

function nearest(among, step) {
  const away = one => Math.abs(points.step[one] - step);
  return among.reduce((best, one) => (away(one) < away(best) ? one : best));
}

// The comparison in a strip below the mouse; a violation rather than others of about the same bin.
function point_at(row, x) {
  const box = strips[row].getBoundingClientRect();
  const step = left + ((x - box.left) / box.width) * width;
  const near = points_of(row).filter(one => points.verdict[one] > 0 && Math.abs(points.step[one] - step) < width / 400);
  return nearest(near.length > 0 ? near : points_of(row), step);
}

function select(row, one) {
  rows[chosen].classList.remove("chosen");
  chosen = row;
  rows[chosen].classList.add("chosen");
  strips[chosen].append(element("mark"));
  element("mark").style.left = `${(100 * (points.step[one] - left)) / width}%`;
  for (const name of ["ratio_mark", "norm_mark"]) model(name).location = points.step[one];
  const [name, text] = element("chosen").children;
  name.textContent = workers[row] ? `${tensors[row]} of ${workers[row]}` : tensors[row];
  text.textContent = in_words(one);
  filter(); // of several workers the chosen one is shown
  draw();
}

// Selects what a person asked for, and says so in the address.
function choose(row, one) {
  select(row, one);
  rows[row].scrollIntoView({ block: "nearest" });
  try {
    history.replaceState(null, "", links[row].hash.replace(/[^=]*$/, points.step[one]));
  } catch {
    // a page in a frame, as in a notebook, has no address
  }
}

// A link to a tensor and step: #tensor=NAME&step=STEP, and &worker=NAME where there are several.
function select_from_address() {
  const asked = new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B"));
  const of_tensor = [...rows.keys()].filter(row => tensors[row] === asked.get("tensor"));
  const row = of_tensor.find(one => workers[one] === asked.get("worker")) ?? of_tensor[0];
  if (row === undefined) return;
  select(row, asked.has("step") ? nearest(points_of(row), Number(asked.get("step"))) : worst[row]);
  if (rows[row].hidden) show_card(-1); // what hides it ends
  rows[row].scrollIntoView({ block: "nearest" });
}

function in_words(one) {
  const of = name => number(points[name][one]);
  const against = `${mode} step ${points.step[one]} against ${points.step[one] - points.back[one]}`;
  const expected = points.lower === undefined ? "" : `, expected ${of("lower")} to ${of("upper")}`;
  const verdict = verdicts[points.verdict[one]].replace("_", " ");
  const norms = `update norm ${of("updates")}, weight norm ${of("norms")}`;
  return `${against}: ratio ${of("ratios")}${expected}, ${norms}: ${verdict}`;
}

// A number to three digits, as the page has it elsewhere, of its log10.
function number(log) {
  if (!Number.isFinite(log)) return log === -Infinity ? "0" : log === Infinity ? "inf" : "nan";
  const whole = Math.floor(log);
  const [digits, carried] = (10 ** (log - whole)).toExponential(2).split("e");
  const exponent = whole + Number(carried);
  if (exponent >= -4 && exponent < 3) return String(Number(`${digits}e${exponent}`));
  return `${Number(digits)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

// ---- charts

// Draws the chosen row. Lines break at what has no logarithm, and where steps were not compared.
function draw() {
  const here = points_of(chosen);
  const with_gaps = here.flatMap(one => (points.gap[one] ? [-1, one] : [one]));
  const of = name => with_gaps.map(one => points[name][one] ?? NaN);
  const levels = model("ratio").center.filter(one => one.tags.includes("level")); // lines and their labels
  const at = level => level.location ?? level.y;
  const columns = Object.fromEntries(["step", "ratios", "updates", "norms"].map(name => [name, of(name)]));
  const thresholds = levels.filter(level => level.tags.includes("bound")).map(at);
  const bounds = points.lower === undefined ? thresholds : [...of("lower"), ...of("upper")];
  const reach = here.some(one => points.verdict[one] > 0) ? 6 : 1.5; // decades from the data to a bound that is drawn
  const [low, high] = set_range("ratio", here, ["ratios"], bounds, reach);
  set_range("norm", here, ["updates", "norms"], [], 0);
  for (const level of levels) level.visible = low < at(level) && at(level) < high;
  const clipped = name => of(name).map(log => Math.min(Math.max(log, low), high));
  if (points.lower !== undefined) Object.assign(columns, { lower: clipped("lower"), upper: clipped("upper") });
  model("lines").data = { ...columns, text: with_gaps.map(one => (one < 0 ? "" : in_words(one))) };
}

// A chart reaches to its data, and to bounds that are near. At its edge is what has no logarithm: zero, or not finite.
function set_range(name, here, columns, bounds, reach) {
  const drawn = columns.flatMap(column => here.map(one => [one, points[column][one]]));
  const finite = drawn.map(([, log]) => log).filter(Number.isFinite);
  const [least, most] = finite.length > 0 ? [Math.min(...finite), Math.max(...finite)] : [-4, -2];
  const near = bounds.filter(log => least - reach < log && log < most + reach);
  const [low, high] = [Math.min(least, ...near), Math.max(most, ...near)];
  const margin = Math.max(0.12 * (high - low), (0.7 - (high - low)) / 2);
  const [start, end] = [low - margin, high + margin];
  model(name).y_range.setv({ start, end });
  set_ticks(model(name).left[0], start, end);
  const edge = 0.05 * (end - start);
  const lost = drawn.filter(([, log]) => !Number.isFinite(log));
  model(`${name}_edges`).data = {
    step: lost.map(([one]) => points.step[one]),
    y: lost.map(([, log]) => (log === -Infinity ? start + edge : end - edge)),
    marker: lost.map(([, log]) => (log === -Infinity ? "circle" : "x")),
    text: lost.map(([one]) => in_words(one)),
  };
  return [start, end];
}

// Ticks are 1, 2 and 5 times powers of ten, or powers alone, as many as there is room for.
function set_ticks(axis, start, end) {
  const room = 5;
  const mantissas = 3 * (end - start) < room ? [1, 2, 5] : 2 * (end - start) < room ? [1, 3] : [1];
  const stride = Math.max(1, Math.ceil((end - start) / room));
  const labels = new Map();
  for (let exponent = Math.floor(start / stride) * stride; exponent <= end; exponent += stride) {
    const power = `e${exponent < 0 ? "" : "+"}${exponent}`;
    for (const mantissa of mantissas) labels.set(exponent + Math.log10(mantissa), mantissa + power);
  }
  axis.major_label_overrides = labels;
  axis.ticker.ticks = [...labels.keys()].filter(tick => start <= tick && tick <= end);
}

start();
