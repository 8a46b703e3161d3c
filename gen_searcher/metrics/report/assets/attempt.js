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
    make("span", "quiet", attempt.is_training ? `${attempt.arm} · step ${attempt.step}` : attempt.arm),
    make("span", "room"),
    make("span", "quiet", place < 0 ? "" : `${place + 1} / ${listed.length}`),
    Object.assign(button("‹ k", () => move(-1)), { ariaLabel: "previous attempt" }),
    Object.assign(button("j ›", () => move(1)), { ariaLabel: "next attempt" }));
}

function request(attempt) {
  const facts = [...attempt.facts, ...Object.entries(attempt.meta).map(([key, value]) => `${key}: ${value}`)];
  return make("div", "",
    make("p", "request", attempt.prompt),
    facts.length ? make("ul", "facts", ...facts.map((fact) => make("li", "chip", fact))) : null);
}

function numbers(attempt) {
  const rows = [["reward", attempt.reward === null ? "none" : short(attempt.reward)]];
  if (attempt.advantage !== null) rows.push(["advantage", signed(attempt.advantage)]);
  for (const [name, value] of Object.entries(attempt.reward_parts)) rows.push([name.replaceAll("_", " "), short(value)]);
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

function drawn(attempt) {
  const none = attempt.lost ? "lost" : "nothing was drawn";
  const row = make("div", "pictures", framed(picture(attempt.picture, "Picture drawn from the grounding", none), "generated"));
  for (const key of attempt.more_pictures) row.append(framed(picture(key, "Further picture of the grounding", ""), "another seed"));
  if (attempt.target) row.append(framed(picture(attempt.target, "Ground-truth picture", ""), "ground truth"));
  if (pictures[attempt.picture] && pictures[attempt.target]) {
    const stack = make("span", "stack", picture(attempt.target, "", ""), picture(attempt.picture, "Difference of both pictures", ""));
    row.append(framed(stack, "difference (black where equal)"));
  }
  return section("Picture", row, howDrawn(attempt.drawing));
}

function grounding(attempt) {
  if (!attempt.gen_prompt && !attempt.references.length) return null;
  const chosen = attempt.references.map((reference, index) => make("li", "chosen",
    picture(reference.picture, reference.title, ""),
    make("span", "id", `${index + 1}. ${reference.img_id}`),
    make("span", "title", reference.title),
    reference.note && reference.note !== reference.title ? make("span", "from", `note: ${reference.note}`) : null));
  return section("Grounding: what the generator got",
    make("p", "quote", attempt.gen_prompt),
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
    make("p", "quiet", `${judgement.model} · prompt ${judgement.prompt_sha256} · ${short(judgement.latency_s)} s${cost}${spread}`));
}

function observation(result) {
  const facts = [result.kind, result.cache, `${short(result.latency_s)} s`];
  if (result.cost_usd) facts.push(`${result.cost_usd.toFixed(4)} USD`);
  if (result.reason) facts.push(result.reason);
  const found = result.images.map((one) => make("li", one.is_chosen ? "chosen" : "",
    picture(one.picture, one.title, ""),
    make("span", "id", one.img_id + (one.is_chosen ? " · chosen" : "")),
    make("span", "title", one.title),
    make("span", "from", one.url)));
  return make("div", `observation ${result.kind}`,
    make("span", "quiet", `observation · ${facts.join(" · ")}`),
    make("pre", "", result.text),
    found.length ? make("ul", "thumbs", ...found) : null,
    sources("Read from", result.sources));
}

function rawTurn(turn, said) {
  const raw = make("div", "raw", ...turn.prompt.map((index) => texts[index]), make("mark", "", turn.completion));
  return make("details", "", make("summary", "quiet", `Text as tokens saw it (${turn.prompt_tokens} read, ${turn.sampled_tokens} ${said})`), raw);
}

function turnBlock(turn, index, attempt) {
  const said = attempt.advantage === null ? "sampled" : "trained";
  const head = make("header", "", make("b", "", `Turn ${index + 1}`), `${turn.sampled_tokens} tokens`);
  if (turn.mean_logprob !== null) head.append(make("span", "", `mean log-prob ${short(turn.mean_logprob)}`));
  if (turn.versions) head.append(make("span", "", `policy version ${turn.versions}`));
  const call = turn.call_name ? make("div", "call", make("b", "", turn.call_name), make("pre", "", turn.call_arguments)) : null;
  return make("li", "turn", head,
    turn.thought ? make("p", "thought", turn.thought) : null,
    turn.words ? make("pre", "error", turn.words) : null,
    call,
    turn.answer ? make("div", "call", make("b", "", "answer"), make("pre", "", turn.answer)) : null,
    turn.result ? observation(turn.result) : null,
    turn.completion || turn.prompt.length ? rawTurn(turn, said) : null);
}

function turnsSection(attempt) {
  if (!attempt.turns.length) return null;
  const mark = make("mark", "", attempt.advantage === null ? "sampled by the policy (did not train)" : "trained: sampled by the policy");
  const legend = make("p", "mask", "In the raw text: ", mark, " · unmarked: prompt and observations, masked out of the loss.");
  return section("Turns", legend, make("ol", "turns", ...attempt.turns.map((turn, index) => turnBlock(turn, index, attempt))));
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
    make("ul", "siblings", ...group.map((one) => tile(one, attempt, one.is_training ? advantage(one) : outcomeWords(one.outcome))))));
  if (same.length) blocks.push(section("The same task elsewhere",
    make("ul", "siblings", ...same.map((one) => tile(one, attempt, one.is_training ? `${one.arm} step ${one.step}` : one.arm)))));
  return blocks;
}

function detail(attempt) {
  return [
    toolbar(attempt), request(attempt), numbers(attempt),
    attempt.lost ? section("Lost: the world failed, nothing was scored", make("p", "error", attempt.lost)) : null,
    attempt.why ? section("Why it failed", make("p", "", attempt.why)) : null,
    attempt.lost ? null : drawn(attempt),
    ...siblings(attempt), grounding(attempt), turnsSection(attempt),
    attempt.judgements.length ? section("Judges", ...attempt.judgements.map(judge)) : null,
  ].filter(Boolean);
}
