// Draws the picture, and lets a tensor's name in the tables above choose the line charts.
"use strict";

const item = JSON.parse(document.getElementById("chart-data").textContent);
Bokeh.embed.embed_item(item).then(() => {
  const drawn = Bokeh.documents[Bokeh.documents.length - 1];
  for (const link of document.querySelectorAll("a[data-row]")) {
    link.addEventListener("click", () => {
      drawn.get_model_by_name("tensor").value = link.dataset.row;
    });
  }
});
