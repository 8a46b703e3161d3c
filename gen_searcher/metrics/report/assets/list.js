// ---- the list of attempts

let attempts = [];
let texts = [];
let runs = [];
let byId = new Map();
let items = new Map();
let listed = [];
let current = null;

/** What the page holds now; a live page does this again for each newer state. */
function loadAttempts() {
  attempts = data("data-attempts");
  pictures = data("data-pictures");
  texts = data("data-texts");
  runs = data("data-run");
  byId = new Map(attempts.map((attempt) => [attempt.id, attempt]));
  items = new Map();
}

const outcomeClass = (outcome) => (outcome === "grounded" || outcome === "lost" ? outcome : "failed");
const outcomeWords = (outcome) => outcome.replaceAll("_", " ");
const rewardWords = (attempt) => (attempt.reward === null ? "no reward" : attempt.reward.toFixed(3));

/** Where an attempt comes from, in words. */
function placeOf(attempt) {
  const place = attempt.is_training ? `${attempt.arm} step ${attempt.step}` : attempt.arm;
  return attempt.run ? `${attempt.run} · ${place}` : place;
}

/** Offer the values, keep what was chosen, and hide the choice where there is less to choose from than `fewest`. */
function fillSelect(id, values, fewest = 2) {
  const select = field(id);
  const chosen = select.value;
  select.length = 1;
  values.forEach((value) => {
    const option = make("option", "", outcomeWords(String(value)));
    option.value = String(value);
    select.append(option);
  });
  select.value = values.map(String).includes(chosen) ? chosen : "";
  select.closest("label").hidden = values.length < fewest;
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
  if (items.has(attempt.id)) return items.get(attempt.id);
  const button = make("button", "",
    picture(attempt.picture, "", "no picture"),
    make("span", "",
      make("span", "task", attempt.prompt),
      make("span", "line2",
        make("span", "badge", rewardWords(attempt)),
        make("span", `outcome ${outcomeClass(attempt.outcome)}`, outcomeWords(attempt.outcome)),
        attempt.events.length ? make("span", "event", attempt.events.length === 1 ? "1 event" : `${attempt.events.length} events`) : null,
        make("span", "", placeOf(attempt)))));
  button.type = "button";
  button.dataset.id = attempt.id;
  button.addEventListener("click", () => open(attempt.id, { focus: true }));
  const made = make("li", "", button);
  items.set(attempt.id, made);
  return made;
}

function applyFilters() {
  const words = field("f-text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const run = field("f-run").value, event = field("f-event").value;
  const arm = field("f-arm").value, step = field("f-step").value, outcome = field("f-outcome").value;
  listed = attempts.filter((attempt) =>
    (!run || attempt.run === run) && (!event || attempt.events.some((one) => one.kind === event)) &&
    (!arm || attempt.arm === arm) && (!step || String(attempt.step) === step) && (!outcome || attempt.outcome === outcome) &&
    words.every((word) => attempt.prompt.toLowerCase().includes(word) || attempt.task_id.toLowerCase() === word));
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
      const top = button.getBoundingClientRect().top - list.getBoundingClientRect().top + list.scrollTop;
      if (top < list.scrollTop || top + button.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top - 80;
    }
  });
}

function open(id, { focus = false, scroll = true, jump = false, keep = false } = {}) {
  const attempt = byId.get(id);
  if (!attempt) return;
  current = id;
  field("detail").replaceChildren(...detail(attempt));
  field("browser").classList.add("open");
  mark();
  if (!keep) history.replaceState(null, "", `#attempt=${encodeURIComponent(id)}`);
  if (focus) field("detail").focus({ preventScroll: true });
  if (scroll && (jump || field("detail").getBoundingClientRect().top < 0 || innerWidth <= 760)) field("browser").scrollIntoView();
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

function openFromAddress(options) {
  const wanted = location.hash.match(/^#attempt=(.+)$/);
  if (wanted) open(decodeURIComponent(wanted[1]), options);
  return Boolean(wanted);
}

/** Small pictures of the highlights at the top of the page. */
function startTiles() {
  document.querySelectorAll("[data-attempt]").forEach((place) => {
    const attempt = byId.get(place.dataset.attempt);
    if (attempt) place.replaceChildren(picture(attempt.picture, `Picture for: ${attempt.prompt}`, outcomeWords(attempt.outcome)));
  });
}

function fillFilters() {
  const distinct = (values) => [...new Set(values)];
  fillSelect("f-run", distinct(attempts.map((attempt) => attempt.run)));
  fillSelect("f-arm", distinct(attempts.map((attempt) => attempt.arm)));
  fillSelect("f-step", distinct(attempts.filter((one) => one.is_training).map((one) => one.step)).sort((a, b) => a - b));
  fillSelect("f-outcome", distinct(attempts.map((attempt) => attempt.outcome)).sort());
  fillSelect("f-event", distinct(attempts.flatMap((attempt) => attempt.events.map((event) => event.kind))).sort(), 1);
}

function startAttempts() {
  if (!field("attempts")) return;
  loadAttempts();
  fillFilters();
  startTiles();
  field("filters").addEventListener("input", applyFilters);
  field("filters").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", () => openFromAddress({ focus: true, jump: true }));
  applyFilters();
  if (!openFromAddress() && innerWidth > 760 && listed.length) open(listed[0].id, { scroll: false, keep: true });
}

document.addEventListener("DOMContentLoaded", () => { startCharts(); startAttempts(); startHelp(); startLive(); });
