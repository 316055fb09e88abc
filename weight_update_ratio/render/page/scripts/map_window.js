// The heat map scrolls in itself: it stays where it is in its box, and its window on the rows moves.

const AROUND_PIXELS = 65; // tools above the rows, steps below them

function follow_window() {
  const box = by_id("map");
  box.addEventListener("scroll", () => {
    const count = column("shown", "rows").length;
    const { start, end } = model("heat").y_range;
    const room = Math.round(Math.abs(start - end));
    const begin = Math.max(0, Math.min(Math.round(box.scrollTop / row_pixels), count - room)) - 0.5;
    if (begin !== end) model("heat").y_range.setv({ start: begin + room, end: begin, reset_start: begin + room, reset_end: begin });
  });
}

// Makes room for so many rows, and scrolls to the chosen one where it is out of sight.
function fit_window(count) {
  const box = by_id("map");
  box.style.setProperty("--map-height", `${AROUND_PIXELS + 1.4 * row_pixels * Math.max(count, 3)}px`);
  const room = Math.floor((box.clientHeight - AROUND_PIXELS) / row_pixels);
  by_id("rows").style.height = `${box.clientHeight + Math.max(0, count - room) * row_pixels}px`;
  const place = column("shown", "rows").indexOf(column("shown", "row"));
  const first = Math.round(box.scrollTop / row_pixels);
  if (place >= 0 && (place < first || place >= first + room)) {
    box.scrollTop = Math.max(0, place - Math.floor(room / 2)) * row_pixels;
  }
}
