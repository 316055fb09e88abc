// Figures in the colours of the page: light as they come, dark where the reader's system is.

const DARK = {
  "#ffffff": "#0d1117", white: "#0d1117", "#444444": "#c9d1d9", "#000000": "#c9d1d9", black: "#c9d1d9",
  "#e5e5e5": "#30363d", "#222222": "#e6edf3", "#c25100": "#ff9d4d", "#1b6ca8": "#6cb6ff", "#4d7a00": "#9bd04a",
  "#a50026": "#ff7b72",
};

function follow_colors() {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const light = light_colors();
  const paint = () => {
    for (const [drawn, name, color, is_spec] of light) {
      const own = dark.matches ? DARK[color] : color;
      drawn[name] = is_spec ? { value: own } : own;
    }
  };
  dark.addEventListener("change", paint);
  if (dark.matches) paint();
}

// The colours that have a dark one; those of the heat map's cells and marks have a meaning, and stay.
function light_colors() {
  const [heat, ...charts] = ["heat", "ratio", "norm"].map(model);
  const drawn = [heat, ...heat.left, ...heat.below];
  for (const chart of charts) {
    const glyphs = chart.renderers.map(renderer => renderer.glyph);
    drawn.push(chart, chart.title, ...chart.left, ...chart.below, ...chart.above, ...chart.center, ...glyphs);
  }
  const found = [];
  for (const one of drawn) {
    for (const { attr } of one) {
      if (!attr.endsWith("_color") || (one === heat && attr === "background_fill_color")) continue;
      const value = one[attr];
      const color = value !== null && typeof value === "object" ? value.value : value;
      if (color in DARK) found.push([one, attr, color, value !== color]);
    }
  }
  return found;
}
