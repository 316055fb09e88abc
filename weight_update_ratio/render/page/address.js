// A link to a tensor and step: #tensor=NAME&step=STEP, and &worker=NAME where there are several.

let written = "";

function follow_address() {
  window.addEventListener("hashchange", () => {
    if (location.hash !== written && select_from_address()) bring_into_sight();
  });
}

// Selects what the address names, and returns whether that is drawn.
function select_from_address() {
  const asked = new URLSearchParams(location.hash.slice(1).replace(/\+/g, "%2B"));
  const { tensor, worker, start, stop, worst } = model("rows").data;
  const of_tensor = worst_first.filter(row => tensor[row] === asked.get("tensor"));
  const row = of_tensor.find(place => worker[place] === asked.get("worker")) ?? of_tensor[0];
  if (row === undefined) return false;
  const steps = model("points").data.step;
  let point = worst[row];
  if (asked.has("step")) {
    const away = place => Math.abs(steps[place] - Number(asked.get("step")));
    for (let place = start[row]; place < stop[row]; place++) if (away(place) < away(point)) point = place;
  }
  select(row, point);
  if (!column("shown", "rows").includes(row)) select_from_afar(row, point, null);
  return true;
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
