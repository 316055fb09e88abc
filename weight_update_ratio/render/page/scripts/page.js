// Draws the picture, and lets cards and controls ask it for rows and comparisons.
"use strict";

const by_id = id => document.getElementById(id);
const { chart: chart_json, cards, worst_first, row_pixels } = JSON.parse(by_id("chart-data").textContent);
let model; // returns the chart's model of a name
let told = ""; // which row and point the page tells of
let asked = false; // whether the charts are to be brought into sight

function start() {
  by_id("picture").hidden = false;
  document.documentElement.classList.add("scripted");
  const roots = chart_json.roots;
  const item = { docid: "chart", roots, root_ids: Object.keys(roots) };
  return Bokeh.embed.embed_items({ chart: chart_json.document }, [item]).then(() => {
    const drawn = Bokeh.documents[Bokeh.documents.length - 1];
    model = name => drawn.get_model_by_name(name);
    follow_colors();
    follow_window();
    follow_controls();
    follow_cards();
    follow_address();
    sort_by_heads();
    const shown = model("shown");
    shown.connect(shown.properties.data.change, tell_shown);
    select_from_address();
    tell_shown();
  });
}

function column(source, name) {
  return model(source).data[name][0];
}

// Asks for rows: all but what is given is as before.
function arrange(wanted) {
  const now = model("arrangement").data;
  const next = Object.fromEntries(Object.entries(wanted).map(([name, value]) => [name, [value]]));
  model("arrangement").data = { ...now, ...next };
}

function select(row, point) {
  model("selection").data = { row: [row], point: [point] };
}

// bokeh calls back later, first for the rows: then the choice is known already.
function select_from_afar(row, point, only) {
  asked = true;
  by_id("part").value = "";
  by_id("all").hidden = only === null;
  mark_card(only === null ? -1 : cards.findIndex(card => card.rows === only));
  arrange({ part: "", only });
  if (row >= 0) select(row, point);
}

function follow_cards() {
  for (const button of document.querySelectorAll("button[data-finding]")) {
    const { rows, row, point } = cards[Number(button.dataset.finding)];
    const article = button.closest("article");
    article.classList.add("live");
    article.addEventListener("click", () => {
      const marked = window.getSelection();
      if (!marked.isCollapsed && article.contains(marked.anchorNode)) return; // its words are being copied
      select_from_afar(row, point, rows);
    });
  }
}

function mark_card(chosen) {
  document.querySelectorAll("button[data-finding]").forEach((button, card) => {
    button.setAttribute("aria-pressed", String(card === chosen));
    button.closest("article").classList.toggle("chosen", card === chosen);
  });
}

function follow_controls() {
  by_id("part").addEventListener("input", () => arrange({ part: by_id("part").value }));
  by_id("sort").addEventListener("change", () => arrange({ sort: by_id("sort").value }));
  const split = by_id("split");
  if (split !== null) split.addEventListener("change", () => arrange({ split: split.checked }));
  by_id("all").addEventListener("click", () => {
    by_id("part").value = "";
    by_id("all").hidden = true;
    mark_card(-1);
    arrange({ part: "", only: null });
  });
}

// Says what the picture shows, also in the address; what was chosen since is brought into sight.
function tell_shown() {
  const [seen, row] = [column("shown", "rows"), column("shown", "row")];
  if (row < 0) return; // it is not laid out yet
  const { tensor, worker } = model("rows").data;
  const several = by_id("split") !== null;
  const all = several && !column("arrangement", "split") ? new Set(tensor).size : tensor.length;
  by_id("count").textContent = `${seen.length.toLocaleString("en")} of ${all.toLocaleString("en")} rows`;
  by_id("tensor").textContent = several ? `${tensor[row]} of ${worker[row]}` : tensor[row];
  by_id("cell").textContent = column("shown", "text");
  fit_window(seen.length);
  write_address(tensor[row], worker[row], column("shown", "step"));
  const now = `${row} ${column("shown", "point")}`;
  if (asked || (told !== "" && told !== now)) bring_into_sight();
  [told, asked] = [now, false];
}

// Scrolls to map and charts where both fit in the window, else to the charts.
function bring_into_sight() {
  const fits = by_id("picture").getBoundingClientRect().height <= window.innerHeight;
  by_id(fits ? "picture" : "charts").scrollIntoView({ block: "nearest" });
}

start();
