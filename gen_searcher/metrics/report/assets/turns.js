// ---- the turns of an attempt: what was read, what was written, token by token

/** How long the read and the written parts are, in order, on one bar. */
function maskBar(attempt) {
  const parts = attempt.turns.flatMap((turn) => [[turn.prompt_tokens, "masked"], [turn.sampled_tokens, "trained"]]);
  const total = parts.reduce((sum, [tokens]) => sum + tokens, 0);
  const written = attempt.turns.reduce((sum, turn) => sum + turn.sampled_tokens, 0);
  if (!total) return null;
  const words = `${count(total)} tokens: ${count(written)} written by the policy, ${count(total - written)} read (masked out of the loss)`;
  let x = 0;
  const rects = parts.map(([tokens, name]) => {
    const rect = svg("rect", { x, y: 0, width: tokens, height: 10, class: name });
    x += tokens;
    return rect;
  });
  const bar = svg("svg", { class: "mask-bar", viewBox: `0 0 ${total} 10`, preserveAspectRatio: "none", role: "img", "aria-label": words }, ...rects);
  return make("div", "", bar, make("p", "quiet small", words));
}

/** One mark per written token: the darker, the less likely it was. */
function strip(turn) {
  const likely = turn.likely;
  if (!likely) return null;
  const marks = [];
  for (let start = 0; start < likely.length;) {
    let end = start + 1;
    while (end < likely.length && likely[end] === likely[start]) end += 1;
    if (likely[start] !== "9") marks.push(svg("rect", { x: start, y: 0, width: end - start, height: 8, class: `p${likely[start] === "-" ? "x" : likely[start]}` }));
    start = end;
  }
  const unsure = [...likely].filter((digit) => digit < "5" && digit !== "-").length;
  const words = `${unsure} of ${likely.length} tokens were sampled at a probability below one half`;
  const bar = svg("svg", { class: "strip", viewBox: `0 0 ${likely.length} 8`, preserveAspectRatio: "none", role: "img", "aria-label": words }, ...marks);
  bar.style.width = `${Math.min(100, Math.max(12, likely.length / 2))}%`;
  bar.append(svg("title", {}, words));
  return bar;
}

function observation(result) {
  const facts = [result.kind, result.cache, `${short(result.latency_s)} s`];
  if (result.cost_usd) facts.push(`${result.cost_usd.toFixed(4)} USD`);
  if (result.reason) facts.push(result.reason);
  if (result.canaries.length) facts.push(`signs of an injection: ${result.canaries.join(", ")}`);
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
  if (turn.latency_s) head.append(make("span", "", `${short(turn.latency_s)} s`));
  if (turn.versions) head.append(make("span", "", `policy version ${turn.versions}`));
  const call = turn.call_name ? make("div", "call", make("b", "", turn.call_name), make("pre", "", turn.call_arguments)) : null;
  return make("li", "turn", head, strip(turn),
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
  const likely = make("p", "mask", "Strip of a turn: one mark per written token; ", make("span", "swatch-unlikely"), " was unlikely, empty was nearly certain.");
  return section("Turns", maskBar(attempt), legend, likely, make("ol", "turns", ...attempt.turns.map((turn, index) => turnBlock(turn, index, attempt))));
}

