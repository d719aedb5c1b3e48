// The review page: shows images page by page, keeps a person's decisions and saves them as decisions.csv.
const { classes, items, examples } = JSON.parse(document.getElementById("data").textContent);
const EACH = 24, at = (id) => document.getElementById(id);
const KINDS = {
  picked: ["picked", "Images that were added. Those that you accept are labeled in the next run; those that you reject are never added again."],
  asked: ["to label", "The most uncertain images, without near duplicates: your labels help most here. Wrong means none of the classes."],
};
const decisions = {}, others = {}; // by digest: of this page, and loaded lines about images of other pages
let page = 0, current = 0, saved = true, kind = Object.keys(KINDS).find((k) => items.some((p) => p.kind === k));
const memory = (pick) => `review ${pick.digest} ${pick.label}`; // a pick has it on every page, in every run
try {
  localStorage.setItem("review", "1");
  for (const pick of items) {
    const found = JSON.parse(localStorage.getItem(memory(pick)));
    if (found && (!found.label || classes.includes(found.label))) decisions[pick.digest] = found;
  }
} catch { tell("This browser keeps nothing for this page: save decisions.csv before you close it."); }

function tell(text) { at("notice").textContent = text; }

for (const [name, [text]] of Object.entries(KINDS)) {
  const some = items.filter((p) => p.kind === name).length;
  if (some) at("kinds").append(element("button", { type: "button", value: name, textContent: `${text} (${some})`, onclick: () => { kind = name; turn(-page); } }));
}
for (const name of ["", ...Object.keys(examples)]) at("label").add(new Option(name || "any class", name));

function ordered() {
  const chosen = items.filter((p) => p.kind === kind && (!at("label").value || p.label === at("label").value));
  const sign = at("order").value === "least" ? 1 : -1, rank = new Map(); // near duplicates stand together, where their first one does
  chosen.sort((a, b) => sign * (a.score - b.score)).forEach((p, i) => rank.has(p.group) || rank.set(p.group, i));
  return chosen.map((p, i) => [rank.get(p.group), i, p]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map((x) => x[2]);
}

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function decide(pick, decision, label) {
  saved = false;
  if (decision) decisions[pick.digest] = { decision, label };
  else delete decisions[pick.digest];
  try {
    if (decision) localStorage.setItem(memory(pick), JSON.stringify(decisions[pick.digest]));
    else localStorage.removeItem(memory(pick));
  } catch { tell("This browser keeps nothing for this page: save decisions.csv before you close it."); }
  const card = document.querySelector(`[data-digest="${pick.digest}"]`);
  if (card) mark(card, pick);
  count();
}

function choose(pick, label) { decide(pick, label === pick.label ? "right" : "corrected", label); }

function mark(card, pick) {
  const found = decisions[pick.digest];
  card.className = "card " + (found ? found.decision : "");
  card.querySelector("select").value = found && found.decision !== "wrong" ? found.label : "";
  for (const button of card.querySelectorAll("button")) button.setAttribute("aria-pressed", !!found && button.value === found.decision);
}

function card(pick, copies) {
  const other = element("select", { onchange: () => other.value && choose(pick, other.value) }, new Option("other …", ""));
  other.setAttribute("aria-label", "another class");
  for (const name of classes) other.add(new Option(name, name));
  const button = (value, text, act) => element("button", { type: "button", value, textContent: text, title: value, onclick: act });
  const made = element("article", { tabIndex: 0, onfocus: () => { current = [...at("grid").children].indexOf(made); } },
    element("img", { src: pick.image, alt: pick.says, onclick: () => { made.focus(); enlarge(pick); } }),
    element("a", { href: pick.url, target: "_blank", textContent: pick.file.split("/").pop(), title: pick.file }),
    element("small", { title: pick.says, textContent: pick.says + (copies > 1 ? `, 1 of ${copies} near duplicates` : "") }),
    element("div", { className: "choose" }, button("right", "✓", () => choose(pick, pick.label)), button("wrong", "✗", () => decide(pick, "wrong", "")), other));
  made.dataset.digest = pick.digest;
  mark(made, pick);
  return made;
}

function enlarge(pick) {
  const image = at("large").querySelector("img");
  image.onerror = () => { image.onerror = null; image.src = pick.image; }; // the original may have moved, or be of a kind that no browser shows
  image.src = pick.url;
  at("large").querySelector("p").textContent = pick.file;
  at("large").showModal();
}

function count() {
  const done = items.filter((p) => decisions[p.digest]).length;
  at("count").textContent = `${done} of ${items.length} decided`;
}

function show() {
  const all = ordered(), last = Math.max(0, Math.ceil(all.length / EACH) - 1), sizes = {};
  page = Math.min(Math.max(page, 0), last);
  for (const p of all) sizes[p.group] = (sizes[p.group] || 0) + 1;
  at("grid").replaceChildren(...all.slice(page * EACH, (page + 1) * EACH).map((p) => card(p, sizes[p.group])));
  for (const button of at("kinds").children) button.setAttribute("aria-pressed", button.value === kind);
  at("about").textContent = KINDS[kind][1];
  at("page").textContent = `page ${page + 1} of ${last + 1}`;
  at("back").disabled = page === 0;
  at("next").disabled = page === last;
  const names = [...new Set(all.map((p) => p.label))].sort().slice(0, 4);
  at("examples").replaceChildren(...names.flatMap((name) => [`labeled as ${name}: `, ...examples[name].map((src) => element("img", { src, alt: name }))]));
  count();
}

function turn(by) { page += by; current = 0; show(); window.scrollTo(0, 0); }

at("label").onchange = at("order").onchange = () => { page = current = 0; show(); };
at("back").onclick = () => turn(-1);
at("next").onclick = () => turn(1);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT" || at("large").open) return;
  const cards = [...at("grid").children], pick = cards[current] && items.find((p) => p.digest === cards[current].dataset.digest);
  if (!pick) return;
  const go = (to) => { // beyond a page's ends are the other pages
    const before = page;
    if (to >= cards.length || to < 0) turn(to < 0 ? -1 : 1);
    const shown = [...at("grid").children], last = shown.length - 1;
    current = page === before ? Math.min(Math.max(to, 0), last) : to < 0 ? last : 0;
    shown[current].focus();
  };
  const key = event.key.toLowerCase();
  if (key === "arrowright") go(current + (document.activeElement === cards[current]));
  else if (key === "arrowleft") go(current - 1);
  else if (key === "r") { choose(pick, pick.label); go(current + 1); }
  else if (key === "w") { decide(pick, "wrong", ""); go(current + 1); }
  else if (key === "u") decide(pick, "", "");
  else if (key === "enter" && event.target.tagName === "ARTICLE") enlarge(pick);
  else if (/^[1-9]$/.test(key) && classes[key - 1]) { choose(pick, classes[key - 1]); go(current + 1); }
  else return;
  event.preventDefault();
});

const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const cell = (text) => quoted(/^'*[=+@\t\r\n-]/.test(text) ? `'${text}` : text); // disarmed, as _csv_files.py does

at("save").onclick = () => {
  const lines = items.filter((p) => decisions[p.digest]).map((p) => [p.file, p.digest, decisions[p.digest].decision, decisions[p.digest].label]);
  const text = [["file", "digest", "decision", "label"], ...Object.values(others), ...lines].map((line) => line.map(cell).join(",") + "\n").join("");
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: "decisions.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  saved = true;
};

function parse(text) { // CSV as saved above, or saved again by a spreadsheet with commas
  const rows = [[]];
  for (const [, value, end] of text.replace(/^\ufeff/, "").matchAll(/("(?:[^"]|"")*"|[^",\r\n]*)(,|\r?\n|$)/g)) {
    const plain = value.startsWith('"') ? value.slice(1, -1).replaceAll('""', '"') : value;
    rows.at(-1).push(/^'+[=+@\t\r\n-]/.test(plain) ? plain.slice(1) : plain);
    if (end !== ",") rows.push([]);
  }
  return rows.filter((row) => row.length > 1);
}

at("load").onchange = async () => {
  const [header = [], ...rows] = parse(await at("load").files[0].text()), own = new Map(items.map((p) => [p.digest, p]));
  const [file, digest, decision, label] = ["file", "digest", "decision", "label"].map((name) => header.indexOf(name));
  at("load").value = "";
  if (Math.min(digest, decision, label) < 0) return tell("This is no decisions.csv: it needs the columns digest, decision and label.");
  const before = saved;
  let wrong = 0, here = 0, elsewhere = 0;
  for (const row of rows.filter((r) => r[decision])) {
    const pick = own.get(row[digest]), names = row[decision] === "wrong" || classes.includes(row[label]);
    if (!names || !["right", "corrected", "wrong"].includes(row[decision])) wrong += 1;
    else if (pick) { decide(pick, row[decision], row[decision] === "wrong" ? "" : row[label]); here += 1; }
    else { others[row[digest]] = [row[file] ?? "", row[digest], row[decision], row[label]]; elsewhere += 1; }
  }
  saved = before;
  tell(`${here} decisions loaded` + (elsewhere ? `, and ${elsewhere} about images of other pages, which are saved with these` : "") + (wrong ? `; ${wrong} lines with an unknown decision or class are left out` : "") + ".");
  show();
};

window.addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });

show();
