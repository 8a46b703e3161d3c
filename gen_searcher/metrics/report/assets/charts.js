// ---- charts: the values of the nearest step under the pointer, or by arrow keys

function nearest(xs, x) {
  let best = 0;
  xs.forEach((one, index) => { if (Math.abs(one - x) < Math.abs(xs[best] - x)) best = index; });
  return best;
}

function chartHover(figure, lines) {
  const chart = figure.querySelector("svg.chart");
  const tip = figure.querySelector(".tip");
  const cursor = chart.querySelector(".cursor");
  const width = chart.viewBox.baseVal.width;
  const longest = lines.reduce((a, b) => (b.steps.length > a.steps.length ? b : a));
  let place = longest.steps.length - 1;

  function hide() { tip.hidden = true; cursor.setAttribute("hidden", ""); cursor.replaceChildren(); }

  function show(index) {
    place = Math.max(0, Math.min(longest.steps.length - 1, index));
    const x = longest.x_px[place];
    cursor.replaceChildren(svg("path", { d: `M${x} 10V164` }));
    const rows = [make("div", "quiet", `step ${longest.steps[place]}`)];
    lines.forEach((line) => {
      const at = nearest(line.x_px, x);
      if (Math.abs(line.x_px[at] - x) > 12) return;
      rows.push(make("div", "", make("span", `swatch ${line.style}`), `${line.name.split("/").pop()}${line.style.endsWith("other") ? " (other run)" : ""} `, make("b", "", short(line.values[at]))));
      if (line.y_px[at] === null) return;
      cursor.append(svg("circle", { cx: line.x_px[at], cy: line.y_px[at], r: 3, class: line.style }));
    });
    cursor.removeAttribute("hidden");
    tip.replaceChildren(...rows);
    tip.hidden = false;
    const left = x < width / 2;
    tip.style.left = left ? `${(x / width) * 100 + 3}%` : "auto";
    tip.style.right = left ? "auto" : `${(1 - x / width) * 100 + 3}%`;
  }

  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    show(nearest(longest.x_px, ((event.clientX - box.left) / box.width) * width));
  });
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("blur", hide);
  chart.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    event.preventDefault();
    show(tip.hidden ? place : place + move);
  });
}

function startCharts() {
  const lines = data("data-charts");
  document.querySelectorAll("figure[data-chart]").forEach((figure) => {
    const own = lines[figure.dataset.chart];
    if (own && own.length) chartHover(figure, own);
  });
}

