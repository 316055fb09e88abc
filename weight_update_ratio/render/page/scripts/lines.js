// The line charts of one row: they reach as far as its data, and break where steps were not compared.

const NEAR = 1; // decades from the data within which a bound or the advice is drawn
const FAR = 6; // likewise for a bound that the data is beyond

// Where a chart begins and ends: at its data, and at the bounds that are near.
function ends_of(values, { lower = [], upper = [], advice = [] }) {
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

function set_range(figure, [start, end]) {
  figure.y_range.setv({ start, end, reset_start: start, reset_end: end });
  set_ticks(figure);
}

// Pixels; a figure that is not laid out yet has none.
function height_of(figure) {
  return figure.properties.inner_height.is_unset ? 100 : figure.inner_height;
}

// Logarithms of 1, 2 and 5 times powers of ten, or of powers alone, as many as there is room for.
function set_ticks(figure) {
  const { start, end } = figure.y_range;
  const room = Math.max(2, height_of(figure) / 22);
  const mantissas = 3 * (end - start) < room ? [1, 2, 5] : 2 * (end - start) < room ? [1, 3] : [1];
  const stride = Math.max(1, Math.ceil((end - start) / room));
  const ticks = [];
  for (let exponent = Math.floor(start); exponent <= end; exponent++) {
    if (exponent % stride === 0) ticks.push(...mantissas.map(mantissa => exponent + Math.log10(mantissa)));
  }
  figure.left[0].ticker.ticks = ticks.filter(tick => start <= tick && tick <= end);
}

// What has no logarithm is drawn at the edge: zero at the bottom, not finite at the top.
function edge_marks(steps, columns, [low, high]) {
  const inside = 0.05 * (high - low);
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

// The columns of the lines: before a point after a gap comes one without values, at which the lines break.
function line_columns(own, [low, high]) {
  const drawable = log => (Number.isFinite(log) ? log : NaN);
  const banded = points.data.lower !== undefined;
  const columns = {
    step: [], ratio: [], lower: [], upper: [], update: [], weight: [], size: [],
    steps_text: [], ratio_text: [], expected_text: [], update_text: [], weight_text: [],
  };
  const add = values => { for (const name of Object.keys(columns)) columns[name].push(values[name]); };
  for (const point of own) {
    const [step, ratio] = [points.data.step[point], points.data.ratio[point]];
    const [update, weight] = [points.data.update_norm[point], points.data.weight_norm[point]];
    const [least, most] = banded ? [points.data.lower[point], points.data.upper[point]] : [NaN, NaN];
    const values = {
      step, ratio: drawable(ratio), update: drawable(update), weight: drawable(weight),
      lower: Math.min(Math.max(least, low), high), upper: Math.max(Math.min(most, high), low),
      size: own.length > 80 ? 2 : 6,
      steps_text: `${names.mode} ${step} against ${reference(point)}`,
      ratio_text: number(ratio), update_text: number(update), weight_text: number(weight),
      expected_text: banded ? `${number(least)} to ${number(most)}` : "",
    };
    if (points.data.gap[point]) add({ ...values, ratio: NaN, update: NaN, weight: NaN });
    add(values);
  }
  return columns;
}

function show(row, point) {
  const own = points_of(row);
  const of = name => own.map(place => points.data[name][place]);
  const [ratios, update, weight, step] = [of("ratio"), of("update_norm"), of("weight_norm"), of("step")];
  const at = level => (level.location === undefined ? level.y : level.location); // of a line, or of its label
  const of_kind = kind => levels.filter(level => level.tags.includes(kind)).map(at);
  const banded = points.data.lower !== undefined;
  const bounds = banded
    ? { lower: of("lower"), upper: of("upper") }
    : { lower: of_kind("lower"), upper: of_kind("upper"), advice: of_kind("advice") };
  const ratio_ends = ends_of(ratios, bounds);
  const norm_ends = ends_of([...update, ...weight], {});
  lines.data = line_columns(own, ratio_ends);
  set_range(ratio, ratio_ends);
  set_range(norm, norm_ends);
  for (const level of levels) level.visible = ratio_ends[0] < at(level) && at(level) < ratio_ends[1];
  ratio_edges.data = edge_marks(step, [["ratio", ratios]], ratio_ends);
  norm_edges.data = edge_marks(step, [["update norm", update], ["weight norm", weight]], norm_ends);
  for (const mark of marks) mark.location = points.data.step[point];
  frame_chosen();
  shown.data = { ...shown.data, row: [row], point: [point], step: [points.data.step[point]], text: [told(point)] };
}

function told(point) {
  const of = name => number(points.data[name][point]);
  return (
    `${names.mode} step ${points.data.step[point]} against ${reference(point)}: ` +
    `ratio ${of("ratio")}, update norm ${of("update_norm")}, weight norm ${of("weight_norm")}: ${verdict(point)}`
  );
}
