// ---- one attempt: `detail(attempt)` makes its elements, top to bottom

function button(text, action) {
  const element = make("button", "", text);
  element.type = "button";
  element.addEventListener("click", action);
  return element;
}

const signed = (value) => (value > 0 ? "+" : "") + value.toFixed(3);

function section(title, ...children) {
  return make("section", "", make("h3", "", title), ...children);
}

function toolbar(attempt) {
  const place = listed.findIndex((one) => one.id === attempt.id);
  return make("div", "toolbar",
    Object.assign(button("‹ list", back), { className: "back" }),
    make("span", `outcome ${outcomeClass(attempt.outcome)}`, outcomeWords(attempt.outcome)),
    make("span", "quiet", placeOf(attempt)),
    make("span", "room"),
    make("span", "quiet", place < 0 ? "" : `${place + 1} / ${listed.length}`),
    Object.assign(button("‹ k", () => move(-1)), { ariaLabel: "previous attempt (k)" }),
    Object.assign(button("j ›", () => move(1)), { ariaLabel: "next attempt (j)" }));
}

function request(attempt) {
  const facts = [...attempt.facts, ...Object.entries(attempt.meta).map(([key, value]) => `${key}: ${value}`)];
  return make("div", "",
    make("p", "request", attempt.prompt),
    facts.length ? make("ul", "facts", ...facts.map((fact) => make("li", "chip", fact))) : null);
}

const runOf = (attempt) => runs.find((one) => one.label === attempt.run) ?? runs[0];

/** The settings that the attempt was made with. */
const madeWith = (attempt) => runOf(attempt)[attempt.is_training ? "training" : "arms"];

function numbers(attempt) {
  const rows = [["reward", attempt.reward === null ? "none" : short(attempt.reward)]];
  if (attempt.advantage !== null) rows.push(["advantage", signed(attempt.advantage)]);
  for (const [name, value] of Object.entries(attempt.reward_parts)) rows.push([name.replaceAll("_", " "), short(value)]);
  const alpha = madeWith(attempt)["reward.alpha"];
  const isBlend = "image" in attempt.reward_parts || "text" in attempt.reward_parts;
  if (alpha !== undefined && isBlend) rows.push(["alpha: share of text", short(Number(alpha))]);
  rows.push(["turns", String(attempt.turns.length)]);
  rows.push(["sampled tokens", String(attempt.turns.reduce((sum, turn) => sum + turn.sampled_tokens, 0))]);
  rows.push(["seed", String(attempt.seed)]);
  return make("dl", "numbers", ...rows.map(([name, value]) => make("div", "", make("dt", "", name), make("dd", "", value))));
}

function framed(content, caption) {
  return make("figure", "", content, make("figcaption", "", caption));
}

function howDrawn(drawing) {
  if (!drawing) return null;
  const facts = [drawing.how];
  if (drawing.reason) facts.push(drawing.reason);
  if (drawing.seed !== null) facts.push(`seed ${drawing.seed}`);
  if (drawing.cut_references) facts.push(`${drawing.cut_references} references not shown: the model takes no more`);
  if (drawing.cost_usd) facts.push(`${drawing.cost_usd.toFixed(4)} USD`);
  return make("p", "quiet", facts.join(" · "));
}

/** Both pictures at one place, one at a time: what differs jumps. */
function flicker(attempt) {
  const stack = make("span", "stack", picture(attempt.target, "", ""), picture(attempt.picture, "", ""));
  const toggle = button("", () => show(toggle.getAttribute("aria-pressed") !== "true"));
  const show = (truth) => {
    toggle.setAttribute("aria-pressed", String(truth));
    toggle.textContent = truth ? "ground truth (f)" : "generated (f)";
    stack.lastChild.hidden = truth;
  };
  toggle.className = "flick";
  show(false);
  stack.classList.add("plain");
  return framed(stack, toggle);
}

function drawn(attempt) {
  const none = attempt.lost ? "lost" : "nothing was drawn";
  const row = make("div", "pictures", framed(picture(attempt.picture, "Picture drawn from the grounding", none), "generated"));
  for (const key of attempt.more_pictures) row.append(framed(picture(key, "Further picture of the grounding", ""), "another seed"));
  if (attempt.target) row.append(framed(picture(attempt.target, "Ground-truth picture", ""), "ground truth"));
  if (pictures[attempt.picture] && pictures[attempt.target]) {
    const stack = make("span", "stack", picture(attempt.target, "", ""), picture(attempt.picture, "Difference of both pictures", ""));
    row.append(framed(stack, "difference (black where equal)"));
    row.append(flicker(attempt));
  }
  return section("Picture", row, howDrawn(attempt.drawing));
}

const ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];

/** The prompt with each "first reference image" as a button that leads to that picture. */
function linked(prompt, chosen) {
  const parts = prompt.split(new RegExp(`\\b(${ORDINALS.join("|")})\\b(?=[^.,;]{0,24}\\b(?:image|picture|reference|photo))`, "gi"));
  return parts.map((part, index) => {
    const target = index % 2 ? chosen[ORDINALS.indexOf(part.toLowerCase())] : null;
    if (!target) return part;
    const link = button(part, () => target.focus());
    link.className = "ordinal";
    return link;
  });
}

function grounding(attempt) {
  if (!attempt.gen_prompt && !attempt.references.length) return null;
  const chosen = attempt.references.map((reference, index) => make("li", "chosen",
    picture(reference.picture, reference.title, ""),
    make("span", "id", `${index + 1}. ${reference.img_id}`),
    make("span", "title", reference.title),
    reference.note && reference.note !== reference.title ? make("span", "from", `note: ${reference.note}`) : null));
  chosen.forEach((one) => { one.tabIndex = -1; });
  return section("Grounding: what the generator got",
    make("p", "quote", ...linked(attempt.gen_prompt, chosen)),
    chosen.length ? make("ol", "thumbs", ...chosen) : make("p", "quiet", "No reference picture was chosen."),
    sources("Sources", attempt.sources));
}

function sources(title, urls) {
  if (!urls.length) return null;
  return make("details", "", make("summary", "quiet", `${title} (${urls.length})`), make("pre", "", urls.join("\n")));
}

function scores(parts) {
  const rows = Object.entries(parts).flatMap(([name, value]) => {
    const fill = make("i");
    fill.style.width = `${Math.max(0, Math.min(1, value ?? 0)) * 100}%`;
    return [make("span", "", name.replaceAll("_", " ")), make("span", "meter", fill), make("span", "number", value === null ? "n/a" : short(value))];
  });
  return rows.length ? make("div", "parts", ...rows) : null;
}

function judge(judgement) {
  const cost = judgement.cost_usd ? ` · ${judgement.cost_usd.toFixed(4)} USD` : "";
  const spread = judgement.variance === null ? "" : ` · variance ${short(judgement.variance)}`;
  return make("div", "judge",
    make("b", "", `${judgement.judge}: ${short(judgement.score)}`),
    scores(judgement.parts),
    make("p", "", judgement.rationale),
    judgement.reply ? folded("Raw reply", () => make("pre", "", judgement.reply)) : null,
    make("p", "quiet", `${judgement.model} · prompt ${judgement.prompt_sha256} · ${short(judgement.latency_s)} s${cost}${spread}`));
}

function tile(attempt, own, label) {
  const element = button("", () => open(attempt.id, { focus: true }));
  element.append(picture(attempt.picture, "", outcomeWords(attempt.outcome)),
    make("b", "", attempt.reward === null ? "lost" : attempt.reward.toFixed(3)), make("span", "quiet", label));
  element.setAttribute("aria-current", String(attempt.id === own.id));
  return make("li", "", element);
}

function siblings(attempt) {
  const group = attempts.filter((one) => one.group === attempt.group);
  const same = attempts.filter((one) => one.task_id === attempt.task_id && one.group !== attempt.group);
  const advantage = (one) => (one.advantage === null ? "no advantage" : `adv ${signed(one.advantage)}`);
  const blocks = [];
  if (group.length > 1) blocks.push(section(`Group: ${group.length} attempts at this task`,
    make("ul", "siblings", ...group.map((one) => tile(one, attempt, one.is_training ? advantage(one) : outcomeWords(one.outcome)))),
    folded("Side by side", () => cards(group, attempt))));
  if (same.length) blocks.push(section("The same task elsewhere",
    make("ul", "siblings", ...same.map((one) => tile(one, attempt, placeOf(one))))));
  return blocks;
}

/** A closed part of the page whose content is made when it is opened. */
function folded(title, content) {
  const element = make("details", "", make("summary", "quiet", title));
  element.addEventListener("toggle", () => { if (element.open && element.childElementCount === 1) element.append(content()); });
  return element;
}

/** What one compares of two attempts, in a column. */
function card(attempt, own) {
  const calls = attempt.turns.filter((turn) => turn.call_name).map((turn) => make("li", "", make("b", "", `${turn.call_name} `), turn.call_arguments.replace(/\s+/g, " ")));
  const link = button(attempt.id === own.id ? "this one" : "open", () => open(attempt.id, { focus: true }));
  link.disabled = attempt.id === own.id;
  return make("li", "", make("div", "card-head", make("span", "quiet", placeOf(attempt)), link),
    picture(attempt.picture, `Picture of ${placeOf(attempt)}`, outcomeWords(attempt.outcome)),
    make("p", "", make("b", "", rewardWords(attempt)), attempt.advantage === null ? "" : ` · advantage ${signed(attempt.advantage)}`,
      make("span", `outcome ${outcomeClass(attempt.outcome)}`, outcomeWords(attempt.outcome))),
    scores(attempt.reward_parts),
    attempt.gen_prompt ? make("p", "quote", attempt.gen_prompt) : null,
    calls.length ? make("ol", "calls", ...calls) : make("p", "quiet", "No tool was called."));
}

function cards(group, own) {
  const list = make("ul", "cards", ...group.map((one) => card(one, own)));
  list.tabIndex = 0;
  list.setAttribute("aria-label", "Attempts side by side");
  return list;
}

/** The other run's attempt at the same task: the same arm, the same seed where there is one. */
function counterpart(attempt) {
  const same = attempts.filter((one) => one.run !== attempt.run && one.task_id === attempt.task_id);
  const better = (one) => (one.arm === attempt.arm ? 2 : 0) + (one.seed === attempt.seed ? 1 : 0);
  return same.sort((a, b) => better(b) - better(a))[0];
}

function besides(attempt) {
  if (runs.length < 2) return null;
  const other = counterpart(attempt);
  if (!other) return section("Beside the other run", make("p", "quiet", "The other run has no attempt at this task on this page."));
  const both = attempt.run === runs[0].label ? [attempt, other] : [other, attempt];
  const jump = Object.assign(button("open the other run's (c)", () => open(other.id, { focus: true })), { className: "counterpart" });
  return section("Beside the other run", cards(both, attempt), jump);
}

/** What the world and the trainer did, apart from what the policy did. */
function events(attempt) {
  if (!attempt.events.length) return null;
  const rows = attempt.events.map((event) => make("li", "",
    make("b", "", event.kind), event.turn === null ? ": " : ` in turn ${event.turn}: `, event.text));
  return section("Events that were not the policy's doing", make("ul", "events", ...rows));
}

function list(title, rows) {
  const shown = rows.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return section(title, make("dl", "facts-list", ...shown.map(([name, value]) => make("div", "", make("dt", "", name), make("dd", "", value)))));
}

/** How far sampler and learner were apart when the step learned from this sample. */
function drift(attempt) {
  const at = attempt.is_training ? runOf(attempt).steps[attempt.step] : null;
  if (!at) return null;
  const block = list(`Log-prob drift of sampler and learner, all samples of step ${attempt.step}`,
    Object.entries(at).map(([name, value]) => [name.split("/")[1].replaceAll("_", " "), short(value)]));
  block.append(make("p", "quiet small", "Numbers of the whole step, not of this sample: of a single sample the sampler's log-probs are on record "
    + "(strip and mean of each turn), the learner's are not."));
  return block;
}

function provenance(attempt) {
  const run = runOf(attempt);
  const versions = [...new Set(attempt.turns.map((turn) => turn.versions).filter(Boolean))];
  return list("Provenance", [
    ["run", run.label], ["config", run.digest], ["step", attempt.is_training ? String(attempt.step) : ""],
    ["task", attempt.task_id], ["seed", String(attempt.seed)], ["policy version", versions.join(", ")],
    ...Object.entries(madeWith(attempt)).map(([name, value]) => [name.replace("._target_", ""), value]),
    ...attempt.judgements.map((one) => [`${one.judge} judge said`, `${one.model}, prompt ${one.prompt_sha256}`]),
    ["picture", attempt.picture], ["ground truth", attempt.target], ["record", attempt.source]]);
}

function detail(attempt) {
  return [
    toolbar(attempt), request(attempt), numbers(attempt),
    attempt.lost ? section("Lost: the world failed, nothing was scored", make("p", "error", attempt.lost)) : null,
    attempt.why ? section("Why it failed", make("p", "", attempt.why)) : null,
    attempt.lost ? null : drawn(attempt), besides(attempt), events(attempt),
    ...siblings(attempt), grounding(attempt), turnsSection(attempt),
    attempt.judgements.length ? section("Judges", ...attempt.judgements.map(judge)) : null,
    drift(attempt), provenance(attempt),
  ].filter(Boolean);
}
