// A link to a tensor and step: #tensor=NAME&step=STEP, and &worker=NAME where there are several.

let written = "";

function follow_address() {
  window.addEventListener("hashchange", () => {
    if (location.hash !== written) select_from_address();
  });
  by_id("tensors").addEventListener("click", event => {
    const link = event.target.closest("a");
    if (link !== null && link.hash === location.hash) bring_into_sight(); // what is chosen already
  });
}

// Selects what the address names, where that is drawn; filters that would hide it end.
function select_from_address() {
  const asked = new URLSearchParams(location.hash.slice(1).replace(/\+/g, "%2B"));
  const { tensor, worker, start, stop, worst } = model("rows").data;
  const of_tensor = worst_first.filter(row => tensor[row] === asked.get("tensor"));
  const row = of_tensor.find(place => worker[place] === asked.get("worker")) ?? of_tensor[0];
  if (row === undefined) return;
  const steps = model("points").data.step;
  let point = worst[row];
  if (asked.has("step")) {
    const away = place => Math.abs(steps[place] - Number(asked.get("step")));
    for (let place = start[row]; place < stop[row]; place++) if (away(place) < away(point)) point = place;
  }
  if (is_hidden(row)) select_from_afar(row, point, null);
  else select(row, point);
}

function is_hidden(row) {
  const [only, part] = [column("arrangement", "only"), column("arrangement", "part")];
  return (only !== null && !only.includes(row)) || !model("rows").data.tensor[row].toLowerCase().includes(part.toLowerCase());
}

function write_address(tensor, worker, step) {
  const names = by_id("split") === null ? { tensor, step } : { tensor, worker, step };
  written = "#" + Object.entries(names).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
  if (location.hash !== written) {
    try {
      history.replaceState(null, "", written);
    } catch {
      // a page within another, as in a notebook, has no address of its own
    }
  }
}
