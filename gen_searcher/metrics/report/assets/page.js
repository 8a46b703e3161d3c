"use strict";
// Everything shown comes from JSON and is set as text, never as markup.

const data = (id) => JSON.parse(document.getElementById(id).textContent);

/** An element with a class, properties and children; a string child is text. */
function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e9) return (value / 1e9).toPrecision(3) + "G";
  if (size >= 1e6) return (value / 1e6).toPrecision(3) + "M";
  if (size !== 0 && size < 1e-3) return value.toExponential(1);
  return String(Number(value.toPrecision(4)));
}

// ---- charts: the values of the nearest step under the pointer, or by arrow keys

function nearest(xs, x) {
  let best = 0;
  xs.forEach((one, index) => { if (Math.abs(one - x) < Math.abs(xs[best] - x)) best = index; });
  return best;
}

function chartHover(figure, lines) {
  const svg = figure.querySelector("svg.chart");
  const tip = figure.querySelector(".tip");
  const cursor = svg.querySelector(".cursor");
  const space = "http://www.w3.org/2000/svg";
  const width = svg.viewBox.baseVal.width;
  const longest = lines.reduce((a, b) => (b.steps.length > a.steps.length ? b : a));
  let place = longest.steps.length - 1;

  function hide() { tip.hidden = true; cursor.setAttribute("hidden", ""); cursor.replaceChildren(); }

  function show(index) {
    place = Math.max(0, Math.min(longest.steps.length - 1, index));
    const x = longest.x_px[place];
    const rule = document.createElementNS(space, "path");
    rule.setAttribute("d", `M${x} 10V164`);
    cursor.replaceChildren(rule);
    const rows = [make("div", "quiet", `step ${longest.steps[place]}`)];
    lines.forEach((line, number) => {
      const at = nearest(line.x_px, x);
      if (Math.abs(line.x_px[at] - x) > 12) return;
      rows.push(make("div", "", make("span", `swatch s${number}`), `${line.name.split("/").pop()} `, make("b", "", short(line.values[at]))));
      if (line.y_px[at] === null) return;
      const dot = document.createElementNS(space, "circle");
      dot.setAttribute("cx", line.x_px[at]);
      dot.setAttribute("cy", line.y_px[at]);
      dot.setAttribute("r", "3");
      dot.setAttribute("class", `s${number}`);
      cursor.append(dot);
    });
    cursor.removeAttribute("hidden");
    tip.replaceChildren(...rows);
    tip.hidden = false;
    const left = x < width / 2;
    tip.style.left = left ? `${(x / width) * 100 + 3}%` : "auto";
    tip.style.right = left ? "auto" : `${(1 - x / width) * 100 + 3}%`;
  }

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    show(nearest(longest.x_px, ((event.clientX - box.left) / box.width) * width));
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
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

// ---- the list of attempts

const attempts = data("data-attempts");
const pictures = data("data-pictures");
const texts = data("data-texts");
const byId = new Map(attempts.map((attempt) => [attempt.id, attempt]));
let listed = [];
let current = null;

const field = (id) => document.getElementById(id);
const outcomeClass = (outcome) => (outcome === "grounded" || outcome === "lost" ? outcome : "failed");
const outcomeWords = (outcome) => outcome.replaceAll("_", " ");

/** A picture of the table, enlarged without blur when it is small; words where there is none. */
function picture(key, alt, none) {
  const url = pictures[key];
  if (!url) return make("span", "none", key ? "not in the store" : none);
  const image = make("img");
  image.src = url;
  image.alt = alt;
  image.decoding = "async";
  image.addEventListener("load", () => { if (image.naturalWidth <= 160) image.classList.add("pixel"); });
  return image;
}

function fillSelect(id, values) {
  const select = field(id);
  values.forEach((value) => {
    const option = make("option", "", outcomeWords(String(value)));
    option.value = String(value);
    select.append(option);
  });
  select.closest("label").hidden = values.length < 2;
}

/** The same order for the same page: a hash of the id. */
function shuffleKey(id) {
  let hash = 2166136261;
  for (const char of id) hash = Math.imul(hash ^ char.codePointAt(0), 16777619);
  hash = Math.imul(hash ^ (hash >>> 15), 2246822519);
  return (hash ^ (hash >>> 13)) >>> 0;
}

const orders = {
  file: () => 0,
  best: (a, b) => (b.reward ?? -1) - (a.reward ?? -1),
  worst: (a, b) => (a.reward ?? 9) - (b.reward ?? 9),
  group: (a, b) => (a.task_id < b.task_id ? -1 : a.task_id > b.task_id ? 1 : 0),
  random: (a, b) => shuffleKey(a.id) - shuffleKey(b.id),
};

function item(attempt) {
  const place = attempt.is_training ? `${attempt.arm} step ${attempt.step}` : attempt.arm;
  const button = make("button", "",
    picture(attempt.picture, "", "no picture"),
    make("span", "",
      make("span", "task", attempt.prompt),
      make("span", "line2",
        make("span", "badge", attempt.reward === null ? "no reward" : attempt.reward.toFixed(3)),
        make("span", `outcome ${outcomeClass(attempt.outcome)}`, outcomeWords(attempt.outcome)),
        make("span", "", place))));
  button.type = "button";
  button.dataset.id = attempt.id;
  button.addEventListener("click", () => open(attempt.id, { focus: true }));
  return make("li", "", button);
}

function applyFilters() {
  const words = field("f-text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const arm = field("f-arm").value, step = field("f-step").value, outcome = field("f-outcome").value;
  listed = attempts.filter((attempt) =>
    (!arm || attempt.arm === arm) && (!step || String(attempt.step) === step) && (!outcome || attempt.outcome === outcome) &&
    words.every((word) => attempt.prompt.toLowerCase().includes(word)));
  listed = [...listed].sort(orders[field("f-order").value]);
  const list = field("list");
  list.replaceChildren(...listed.map(item));
  if (!listed.length) list.append(make("li", "empty", "No attempt matches."));
  field("f-count").textContent = `${listed.length} of ${attempts.length}`;
  mark();
}

function mark() {
  field("list").querySelectorAll("button").forEach((button) => {
    const own = button.dataset.id === current;
    button.setAttribute("aria-current", String(own));
    if (own) {
      const list = field("list");
      const top = button.offsetTop - list.offsetTop;
      if (top < list.scrollTop || top + button.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top - 80;
    }
  });
}

function open(id, { focus = false, scroll = true } = {}) {
  const attempt = byId.get(id);
  if (!attempt) return;
  current = id;
  field("detail").replaceChildren(...detail(attempt));
  field("browser").classList.add("open");
  mark();
  history.replaceState(null, "", `#attempt=${encodeURIComponent(id)}`);
  if (focus) field("detail").focus({ preventScroll: true });
  if (scroll && (field("detail").getBoundingClientRect().top < 0 || innerWidth <= 760)) field("browser").scrollIntoView();
}

function back() {
  field("browser").classList.remove("open");
  field("list").querySelector("[aria-current=true]")?.focus();
}

function move(by) {
  const index = listed.findIndex((attempt) => attempt.id === current);
  const next = listed[index < 0 ? 0 : index + by];
  if (next) open(next.id);
}

function keys(event) {
  const typing = event.target.matches("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") { if (typing) event.target.blur(); else back(); return; }
  if (typing) return;
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "/") { event.preventDefault(); field("f-text").focus(); } // The browser's own quick find stays closed.
}

function openFromAddress() {
  const wanted = location.hash.match(/^#attempt=(.+)$/);
  if (wanted) open(decodeURIComponent(wanted[1]));
  return Boolean(wanted);
}

function startAttempts() {
  if (!field("attempts")) return;
  fillSelect("f-arm", [...new Set(attempts.map((attempt) => attempt.arm))]);
  fillSelect("f-step", [...new Set(attempts.filter((one) => one.is_training).map((one) => one.step))].sort((a, b) => a - b));
  fillSelect("f-outcome", [...new Set(attempts.map((attempt) => attempt.outcome))].sort());
  field("filters").addEventListener("input", applyFilters);
  field("filters").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", openFromAddress);
  applyFilters();
  if (!openFromAddress() && innerWidth > 760 && listed.length) {
    open(listed[0].id, { scroll: false });
    history.replaceState(null, "", location.pathname + location.search);
  }
}

document.addEventListener("DOMContentLoaded", () => { startCharts(); startAttempts(); });
