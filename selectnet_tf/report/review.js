// The review page: shows images page by page, keeps a person's decisions and saves them as decisions.csv.
const { classes, items, examples, omitted } = JSON.parse(document.getElementById("data").textContent);
const EACH = 24, at = (id) => document.getElementById(id);
const KINDS = {
  picked: ["picked", "Images that were added. Those that you accept are labeled in the next run; those that you reject are never added again. The number is the probability of the label, by a layer that has not seen the image."],
  asked: ["to label", "The most uncertain images, chosen to differ: your labels help most here. Wrong means none of the classes."],
  suspect: ["doubtful labels", "Labeled images that look like another class. A correction counts in the next run; wrong leaves the image out of it."],
};
const uses = (name) => items.filter((p) => p.label === name || p.second === name).length;
const digits = (classes.length > 9 ? Object.keys(examples).sort((a, b) => uses(b) - uses(a)) : classes).slice(0, 9);
const decisions = {}, others = {}; // by digest: of this page, and loaded lines about images of other pages
let page = 0, current = 0, saved = true, swept = [], kind = Object.keys(KINDS).find((k) => items.some((p) => p.kind === k));
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
  if (some) at("kinds").append(element("button", { type: "button", value: name, textContent: `${text} (${some})`, onclick: () => { kind = name; at("label").value = ""; turn(-page); } }));
}
for (const name of ["", ...new Set(items.map((p) => p.label))].sort()) at("label").add(new Option(name, name));
for (const name of classes) at("classes").append(new Option(name, name));
digits.forEach((name, i) => at("legend").append(element("span", {}, element("kbd", { textContent: i + 1 }), ` ${name}`), " "));

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
  const { decision = "", label = "" } = decisions[pick.digest] ?? {}, other = decision === "corrected" && label !== pick.second;
  card.className = `card ${decision}`;
  for (const button of card.querySelectorAll("button")) button.setAttribute("aria-pressed", button.value === (decision !== "corrected" ? decision : other ? "" : "second"));
  card.querySelector("input").value = other ? label : "";
}

function card(pick, copies) {
  const button = (value, textContent, title, onclick) => element("button", { type: "button", value, textContent, title, onclick });
  const other = element("input", { placeholder: "another class", ariaLabel: "another class", onchange: () => {
    const typed = other.value.trim().toLowerCase(), like = classes.filter((name) => name.toLowerCase().startsWith(typed));
    const name = like.find((name) => name.toLowerCase() === typed) ?? (like.length === 1 ? like[0] : "");
    if (typed && !name) return tell(like.length ? `${like.length} classes begin with ${typed}: type more.` : `No class begins with ${typed}.`);
    tell("");
    decide(pick, !name ? "" : name === pick.label ? "right" : "corrected", name);
    if (document.activeElement === other) step(1);
  } });
  other.setAttribute("list", "classes");
  const made = element("article", { tabIndex: 0 },
    element("img", { src: pick.image, alt: pick.says, onclick: () => { made.focus(); enlarge(pick); } }),
    element("a", { href: pick.url, target: "_blank", textContent: pick.file.split("/").pop(), title: pick.file }),
    element("small", { title: pick.says, textContent: pick.says + (copies > 1 ? `, 1 of ${copies} near duplicates` : "") }),
    element("div", { className: "choose" },
      button("right", `\u2713\u00a0${pick.label}`, `right: ${pick.label}`, () => choose(pick, pick.label)),
      ...(pick.second ? [button("second", pick.second, `it is ${pick.second}`, () => choose(pick, pick.second))] : []),
      button("wrong", "\u2717", "wrong: none of the classes", () => decide(pick, "wrong", ""))), other);
  made.addEventListener("focusin", () => { current = [...at("grid").children].indexOf(made); exemplify(pick); });
  made.dataset.digest = pick.digest;
  mark(made, pick);
  return made;
}

function exemplify(pick) { // labeled images of the card's two classes
  const names = [pick.label, pick.second].filter((name) => examples[name]);
  at("examples").replaceChildren(...names.map((name) => element("div", {}, element("small", { textContent: name, title: `labeled as ${name}` }),
    ...examples[name].map((src) => element("img", { src, alt: name })))));
}

function enlarge(pick) {
  const image = at("large").querySelector("img");
  image.onerror = () => { image.onerror = null; image.src = pick.image; }; // the original may have moved, or be of a kind that no browser shows
  image.src = pick.url;
  at("large").querySelector("p").textContent = pick.file;
  at("large").showModal();
}

function count() {
  const left = { "": 0 }, all = items.filter((p) => p.kind === kind);
  for (const p of all) left[p.label] ??= 0;
  for (const p of all.filter((p) => !decisions[p.digest])) { left[p.label] += 1; left[""] += 1; }
  for (const option of at("label").options) { option.text = `${option.value || "every class"}: ${left[option.value] ?? 0} left`; option.hidden = !(option.value in left); }
  at("count").textContent = `${items.filter((p) => decisions[p.digest]).length} of ${items.length} decided`;
  at("all").textContent = swept.length ? `take back these ${swept.length}` : "all right on this page";
}

function show() {
  const all = ordered(), last = Math.max(0, Math.ceil(all.length / EACH) - 1), sizes = {};
  page = Math.min(Math.max(page, 0), last);
  swept = [];
  for (const p of all) sizes[p.group] = (sizes[p.group] || 0) + 1;
  at("grid").replaceChildren(...all.slice(page * EACH, (page + 1) * EACH).map((p) => card(p, sizes[p.group])));
  for (const button of at("kinds").children) button.setAttribute("aria-pressed", button.value === kind);
  at("about").textContent = KINDS[kind][1] + (kind === "picked" && omitted ? ` ${omitted} less doubtful ones are in selected.csv alone.` : "");
  at("page").textContent = `page ${page + 1} of ${last + 1}`;
  at("back").disabled = page === 0;
  at("next").disabled = page === last;
  if (all.length) exemplify(all[page * EACH]);
  count();
}

function turn(by) { page += by; current = 0; show(); window.scrollTo(0, 0); }

at("label").onchange = at("order").onchange = () => turn(-page);
at("back").onclick = () => turn(-1);
at("next").onclick = () => turn(1);
const shown = () => [...at("grid").children].map((made) => items.find((p) => p.digest === made.dataset.digest));
at("all").onclick = () => {
  const back = swept, open = shown().filter((p) => !decisions[p.digest]);
  swept = back.length ? [] : open;
  for (const p of back.filter((p) => decisions[p.digest]?.decision === "right")) decide(p, "", "");
  if (!back.length) for (const p of open) choose(p, p.label);
};

function step(by) { // beyond a page's ends are the other pages
  const to = current + by, before = page, length = at("grid").children.length;
  if (to >= length || to < 0) turn(by);
  const cards = at("grid").children, last = cards.length - 1;
  current = page === before ? Math.min(Math.max(to, 0), last) : by < 0 ? last : 0;
  cards[current].focus();
}

document.addEventListener("keydown", (event) => {
  const made = at("grid").children[current], pick = shown()[current], typing = event.target.matches("input, select");
  if (event.ctrlKey || event.metaKey || event.altKey || at("large").open || !pick) return;
  if (typing && event.key === "Escape") made.focus();
  if (typing) return;
  const then = (label) => { choose(pick, label); step(1); }, key = event.key.toLowerCase();
  const keys = {
    arrowright: () => step(document.activeElement === made ? 1 : 0), arrowleft: () => step(-1), r: () => then(pick.label), a: () => at("all").click(),
    w: () => { decide(pick, "wrong", ""); step(1); }, u: () => decide(pick, "", ""), n: () => turn(1), p: () => turn(-1), o: () => made.querySelector("input").focus(),
    ...(pick.second && { s: () => then(pick.second) }), ...(event.target === made && { enter: () => enlarge(pick) }),
    ...Object.fromEntries(digits.map((name, i) => [i + 1, () => then(name)])),
  };
  if (!keys[key]) return;
  keys[key]();
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
  const mine = new Map(Object.entries(decisions)); // made here, so newer than the file's
  let wrong = 0, here = 0, kept = 0, elsewhere = 0;
  for (const row of rows.filter((r) => r[decision])) {
    const pick = own.get(row[digest]), names = row[decision] === "wrong" || classes.includes(row[label]);
    if (!names || !["right", "corrected", "wrong"].includes(row[decision])) wrong += 1;
    else if (mine.has(row[digest]) && mine.get(row[digest]).label !== (row[decision] === "wrong" ? "" : row[label])) kept += 1;
    else if (pick) { row[decision] === "wrong" ? decide(pick, "wrong", "") : choose(pick, row[label]); here += 1; }
    else { others[row[digest]] = [row[file] ?? "", row[digest], row[decision], row[label]]; elsewhere += 1; }
  }
  saved = before;
  tell(`${here} decisions loaded` + (kept ? `, ${kept} not, as you decided otherwise on this page` : "") + (elsewhere ? `, and ${elsewhere} about images of other pages, which are saved with these` : "") + (wrong ? `; ${wrong} lines with an unknown decision or class are left out` : "") + ".");
  show();
};

window.addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });

show();
