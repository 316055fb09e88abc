// What happens when the picture is asked for something: by a click, by its size, by the page or by a notebook's controls.

function show_selected() {
  const [row] = selection.data.row;
  if (shown.data.row[0] < 0 || rows.data.y[row] === layout.out_of_sight) arrange();
  show(row, selection.data.point[0]);
}

// ``source`` is the model that changed, or the event of a click.
function on_event(source) {
  if (source === arrangement) {
    arrange();
  } else if (source === selection) {
    show_selected();
  } else if (source === heat) {
    align();
    if (shown.data.row[0] < 0) show_selected(); // laid out for the first time
    else scroll_to(Math.round(heat.y_range.end + 0.5)); // it changed its size
  } else if (source === ratio || source === norm) {
    set_ticks(source);
  } else {
    const row = row_at(source.y);
    if (row < 0) return;
    const point = cell_at(row, source.x);
    selection.data = { row: [row], point: [point < 0 ? rows.data.worst[row] : point] };
  }
}
