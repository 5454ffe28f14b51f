"use strict";
(() => {
  const PRINTED_WIDTH = 660, PRINTED_TEXT = "#3f4650";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const plots = figures.map((figure) => document.getElementById(figure.id));
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const coarse = window.matchMedia("(pointer: coarse)").matches;
  const text = () => getComputedStyle(document.documentElement).getPropertyValue("--figure").trim();
  const all = (change) => plots.forEach((plot) => plot.data && Plotly.relayout(plot, change));

  // The space is kept free first, so that nothing moves under the reader while figures are drawn.
  figures.forEach((figure, place) => { plots[place].style.minHeight = `${figure.layout.height}px`; });

  const draw = (place) => {
    if (place === figures.length) {
      document.documentElement.dataset.drawn = "all";
      return;
    }
    const { data, layout } = figures[place];
    layout.font = { ...layout.font, color: text() };
    if (coarse) layout.dragmode = false; // a finger over a figure scrolls the page
    Plotly.newPlot(plots[place], data, layout, { responsive: true, displayModeBar: false })
      .then(() => setTimeout(draw, 0, place + 1));
  };
  draw(0);

  dark.addEventListener("change", () => all({ "font.color": text() }));

  // Paper is white and has no folds.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((part) => { part.open = true; });
    all({ "font.color": PRINTED_TEXT, width: PRINTED_WIDTH });
  });
  addEventListener("afterprint", () => {
    folded.forEach((part) => { part.open = false; });
    all({ "font.color": text(), width: null, autosize: true });
  });
})();
