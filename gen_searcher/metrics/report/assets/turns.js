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

/** The text, and what of it the policy wrote itself later as marks. */
function marked(text, sentences) {
  const parts = [];
  for (let rest = text; rest;) {
    const places = sentences.map((one) => [rest.indexOf(one), one]).filter(([at]) => at >= 0);
    const [at, sentence] = places.reduce((first, one) => (one[0] < first[0] ? one : first), [rest.length, ""]);
    parts.push(rest.slice(0, at), sentence ? make("mark", "", sentence) : "");
    rest = rest.slice(at + sentence.length);
  }
  return parts;
}

/** A table that stays one for a screen reader where a phone lays its cells one below the other. */
function withRoles(table) {
  table.setAttribute("role", "table");
  const roles = { thead: "rowgroup", tbody: "rowgroup", tr: "row", "thead th": "columnheader", "tbody th": "rowheader", td: "cell" };
  for (const [selector, role] of Object.entries(roles)) table.querySelectorAll(selector).forEach((one) => one.setAttribute("role", role));
  return table;
}

/** What one query found. Addresses are words, not links: nothing here leads to a page that a stranger wrote. */
function hitTable(found, sentences) {
  if (!found.hits.length) return make("p", "asked", `No results for: ${found.query}`);
  const head = ["#", "Title", "Address", "Snippet"].map((word) => Object.assign(make("th", "", word), { scope: "col" }));
  const rows = found.hits.map((hit) => make("tr", "",
    Object.assign(make("th", "number", String(hit.number)), { scope: "row" }),
    make("td", "title", hit.title), make("td", "from", hit.url), make("td", "", ...marked(hit.snippet, sentences))));
  return withRoles(make("table", "hits", make("caption", "asked", `Results for: ${found.query}`),
    make("thead", "", make("tr", "", ...head)), make("tbody", "", ...rows)));
}

function observation(result) {
  const facts = [result.kind, result.cache, `${short(result.latency_s)} s`];
  if (result.retries) facts.push(`${count(result.retries)} ${result.retries === 1 ? "request" : "requests"} made again`);
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
    ...result.queries.map((one) => hitTable(one, result.repeated)),
    result.text || !result.queries.length ? make("pre", "", ...marked(result.text, result.repeated)) : null,
    result.repeated.length ? make("p", "quiet small", make("mark", "", "Marked"), ": the policy wrote these words itself in a later turn.") : null,
    found.length ? make("ul", "thumbs", ...found) : null,
    result.queries.length ? null : sources("Read from", result.sources));
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

