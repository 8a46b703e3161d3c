// ---- keys: everything that a mouse can do with the samples

/** The next or previous attempt of the same group. */
function moveInGroup(by) {
  const own = byId.get(current);
  if (!own) return;
  const group = attempts.filter((one) => one.group === own.group);
  const next = group[(group.indexOf(own) + by + group.length) % group.length];
  if (next !== own) open(next.id);
}

const press = (selector) => field("detail").querySelector(selector)?.click();

const actions = {
  j: () => move(1),
  k: () => move(-1),
  ArrowRight: () => move(1),
  ArrowLeft: () => move(-1),
  "]": () => moveInGroup(1),
  "[": () => moveInGroup(-1),
  c: () => press(".counterpart"),
  f: () => press(".flick"),
  "/": () => { field("f-text").focus(); field("f-text").select(); }, // The browser's own quick find stays closed.
  "?": () => field("help").showModal(),
};

function keys(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || field("help").open) return;
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "Escape") { if (typing) event.target.blur(); else back(); return; }
  if (typing || (event.key.startsWith("Arrow") && event.target.closest(".chart, .scroll, .cards"))) return;
  const action = Object.hasOwn(actions, event.key) ? actions[event.key] : null;
  if (!action) return;
  event.preventDefault();
  action();
}

function startHelp() {
  const help = field("help");
  if (!help) return;
  field("help-open").addEventListener("click", () => help.showModal());
  field("help-close").addEventListener("click", () => help.close());
}
