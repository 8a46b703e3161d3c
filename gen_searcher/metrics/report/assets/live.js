// ---- a live page asks its own server whether there is a newer state, and takes over what changed; what one reads stays

const EVERY_MS = 3000;

/** Put the parts of a newer page into this one. */
function takeOver(newer) {
  const opened = new Set([...field("run").querySelectorAll("details[open]")].map((one) => one.querySelector("summary").textContent));
  field("run").replaceWith(document.adoptNode(newer.getElementById("run")));
  field("run").querySelectorAll("details").forEach((one) => { one.open = opened.has(one.querySelector("summary").textContent); });
  for (const id of ["data-charts", "data-attempts", "data-texts", "data-pictures", "data-run"]) {
    field(id).textContent = newer.getElementById(id).textContent;
  }
  field("shown").replaceWith(document.adoptNode(newer.getElementById("shown")));
  const list = field("list").scrollTop;
  startCharts();
  loadAttempts();
  fillFilters();
  startTiles();
  applyFilters();
  field("list").scrollTop = list;
  if (!current && innerWidth > 760 && listed.length) open(listed[0].id, { scroll: false, keep: true });
}

async function text(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.text();
}

function startLive() {
  const bar = field("live");
  if (!bar) return;
  let version = bar.dataset.version;
  const say = (words, ok) => { bar.textContent = words; bar.classList.toggle("stale", !ok); };

  async function ask() {
    try {
      if (JSON.parse(await text("/version")) !== version) {
        const newer = new DOMParser().parseFromString(await text("/"), "text/html");
        version = newer.getElementById("live").dataset.version;
        takeOver(newer);
        say(`live · renewed at ${new Date().toLocaleTimeString()}`, true);
      } else if (bar.classList.contains("stale")) say("live", true);
    } catch (error) {
      say("The server does not answer; this is the last state it gave.", false);
    }
    setTimeout(ask, EVERY_MS);
  }
  setTimeout(ask, EVERY_MS);
}
