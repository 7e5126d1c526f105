import { Text, merged, render, select, selected } from "./text.js";

const SIGNS = {
  differs: ["differs from the re-run", "Running the engine again gives another text: another version, or the safe file was changed."],
  known_left: ["known value still visible", "Something of the record's columns can be read in the safe text."],
  second_look: ["found by the second look", "Only the second look at the result caught it; it became a tag."],
  digits_left: ["long number left", "Six or more digits, a mail or a link are visible."],
  name_left: ["possible name left", "A word with a capital that people or towns bear is visible."],
  no_span: ["nothing found", "No span at all in this report."],
  low_score: ["low score", "A span below 0.7."],
  tagger_only: ["tagger only", "Only the trained tagger sees it, no rule and no column."],
  clinical_hidden: ["clinical word hidden", "A span covers a clinical word, an eponym or a measure."],
  long_gap: ["long stretch without a span", "More than 1,500 characters in a row without any span."],
};
const FAMILY = {
  name: "person", initials: "person", birth_date: "date", date: "date", age: "date", address: "place", postcode: "place", town: "place",
  institution: "institution", phone: "contact", email: "contact", url: "contact", national_id: "number", patient_id: "number",
  visit_id: "number", professional_id: "number", id: "number",
};
const DIGITS = ["name", "date", "birth_date", "town", "institution", "address", "phone", "patient_id", "id"];
const STATUS = { visible: "still visible", partly: "partly visible", hidden: "hidden", kept: "kept by the policy" };
const WINDOW = 200;

const $ = (id) => document.getElementById(id);
const nice = (kind) => kind.replaceAll("_", " ");
const state = { reports: new Map(), order: [], sample: [], shown: [], id: null, data: null, texts: {}, selection: null, active: null, place: null, busy: false };

history.replaceState(null, "", location.pathname + location.hash);

async function call(path, body) {
  let answer;
  try {
    answer = await fetch(path, body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    $("offline").hidden = false;
    return null;
  }
  $("offline").hidden = answer.status !== 403;
  if (answer.ok) return answer.json();
  const text = await answer.text();
  let detail = text;
  try { detail = JSON.parse(text).detail; } catch { /* plain text */ }
  say(typeof detail === "string" ? detail : "not possible", true);
  if (answer.status === 409 && state.id) await open(state.id);
  return null;
}

function say(text, bad = false) {
  $("saved").textContent = text;
  $("saved").classList.toggle("bad", bad);
}

// -- the list ---------------------------------------------------------------------------------------------------------

function percent(value) { return `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`; }

function totals(t) {
  $("bar").max = Math.max(1, t.reports);
  $("bar").value = t.reviewed;
  $("done").textContent = t.reviewed;
  $("left").textContent = t.left;
  $("edited").textContent = t.edited ? `, ${t.edited} edited but not accepted` : "";
  const { reports, spans } = t.leak;
  const share = (e) => `${e.count} of ${e.n} (${percent(e.share)}, 95 % interval ${percent(e.low)} to ${percent(e.high)})`;
  $("estimate").replaceChildren();
  const strong = document.createElement("b");
  strong.textContent = reports.n ? `Leak: ${share(reports)} reports` : "Leak: no estimate yet";
  const more = document.createElement("span");
  more.textContent = reports.n
    ? ` show an identifying word${spans.n ? `; ${share(spans)} spans wholly visible` : ""}. From the first ${t.sample_reviewed} of ${t.sample} drawn at random.`
    : t.sample ? ` (accept reports in the order “random sample”, ${t.sample} are drawn)` : " (no random sample was drawn: --sample)";
  $("estimate").append(strong, more);
}

function arrange() {
  const order = document.querySelector("input[name=order]:checked").value;
  const base = order === "sample" ? state.sample : state.order;
  const [wanted, reason, kind] = [$("f-state").value, $("f-reason").value, $("f-kind").value];
  state.shown = base.filter((id) => {
    const r = state.reports.get(id);
    if (wanted === "open" ? r.state === "accepted" : wanted && r.state !== wanted) return false;
    return (!reason || r.reasons[reason]) && (!kind || r.kinds[kind]);
  });
  $("bias").textContent = order === "sample"
    ? `${state.sample.length} of the export's ${state.exported} reports, drawn at random, in random order. Accept them from the top: those without a gap give the estimate, which holds for the whole export.`
    : "Riskiest first. The share of leaks you meet here is no estimate: this order picks the worst. The estimate comes from the random sample only.";
  list();
}

function list() {
  const here = Math.max(0, state.shown.indexOf(state.id));
  const first = Math.max(0, Math.min(here - WINDOW / 2, state.shown.length - WINDOW));
  const part = state.shown.slice(first, first + WINDOW);
  $("count").textContent = state.shown.length > WINDOW
    ? `${first + 1} to ${first + part.length} of ${state.shown.length} reports` : `${state.shown.length} reports`;
  $("reports").replaceChildren(...part.map(entry));
  $("reports").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
}

function entry(id) {
  const r = state.reports.get(id);
  const item = document.createElement("li"), button = document.createElement("button");
  button.type = "button";
  button.dataset.id = id;
  button.className = `item ${r.state}`;
  if (id === state.id) button.setAttribute("aria-current", "true");
  const line = document.createElement("span"), risk = document.createElement("span"), why = document.createElement("span");
  line.className = "line";
  risk.className = `risk ${r.score >= 80 ? "high" : r.score >= 40 ? "middle" : "low"}`;
  risk.textContent = Math.round(r.score);
  risk.title = "risk, 0 to 100";
  const name = document.createElement("code");
  name.textContent = id.slice(0, 8);
  const mark = document.createElement("span");
  mark.className = "state";
  mark.textContent = { new: "", edited: "✎ edited", accepted: "✓ reviewed" }[r.state];
  line.append(risk, name, mark);
  if (r.sample) {
    const tag = document.createElement("span");
    tag.className = "insample";
    tag.textContent = "sample";
    line.append(tag);
  }
  why.className = "why";
  why.textContent = Object.entries(r.reasons).slice(0, 3).map(([reason, n]) => `${SIGNS[reason][0]}${n > 1 ? ` ×${n}` : ""}`).join(", ") || "no sign";
  button.append(line, why);
  button.addEventListener("click", () => open(id));
  item.append(button);
  return item;
}

function step(by, todo = false) {
  let at = state.shown.indexOf(state.id);
  if (at < 0) at = by > 0 ? -1 : 0;
  for (at += by; at >= 0 && at < state.shown.length; at += by)
    if (!todo || state.reports.get(state.shown[at]).state !== "accepted") return open(state.shown[at]);
  say(todo ? "no report to do below this one" : by > 0 ? "this is the last report" : "this is the first report");
  return null;
}

// -- one report -------------------------------------------------------------------------------------------------------

async function open(id) {
  const data = await call(`api/reports/${encodeURIComponent(id)}`);
  if (!data) return;
  state.id = id;
  state.place = null;
  history.replaceState(null, "", `${location.pathname}#${id}`);
  forget();
  take(data);
  $("original").scrollTop = $("safe").scrollTop = 0;
  list();
  $("original").focus({ preventScroll: true });
}

function take(data) {
  state.data = data;
  state.texts = { original: new Text(data.original), safe: new Text(data.safe) };
  const known = state.reports.get(data.id);
  Object.assign(known, { state: data.state, version: data.version });
  $("title").textContent = data.exam || "Report";
  $("meta").textContent = `${data.id} · risk ${Math.round(data.score)} · ${data.length} characters · ${data.spans.length} spans · ${{ new: "not reviewed", edited: "edited, not accepted", accepted: "reviewed" }[data.state]}${data.sample ? " · in the random sample" : ""}`;
  $("reasons").replaceChildren(...Object.entries(data.reasons).map(([reason, n]) => {
    const chip = document.createElement("span");
    chip.className = "chip";
    chip.textContent = `${SIGNS[reason][0]}${n > 1 ? ` ×${n}` : ""}`;
    chip.title = SIGNS[reason][1];
    return chip;
  }));
  const columns = document.querySelector("#record dl");
  columns.replaceChildren();
  for (const [name, value] of Object.entries(data.record)) {
    const row = document.createElement("div"), term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = nice(name);
    text.textContent = value;
    row.append(term, text);
    columns.append(row);
  }
  $("undo").disabled = !data.can_undo;
  $("accept").textContent = data.state === "accepted" ? "Accepted" : "Accept";
  $("accept").classList.toggle("done", data.state === "accepted");
  draw();
}

function draw() {
  const { data, texts } = state;
  const doubts = openDoubts().map((d) => ({ ...d, title: SIGNS[d.reason][1] }));
  const items = [
    ...data.spans.map((s, index) => ({ ...s, keys: [`s${index}`], type: "span" })),
    ...data.freed.map((s, index) => ({ ...s, keys: [`f${index}`], type: "freed" })),
  ];
  const scroll = [$("original").scrollTop, $("safe").scrollTop];
  render($("original"), texts.original, merged(items), doubts, (item) => mark(item, true));
  const safe = items.map((item) => ({ ...item, start: item.safe[0], end: item.safe[1], own: [item.start, item.end] }));
  const left = doubts.map((d) => ({ ...d, start: d.safe[0], end: d.safe[1] }));
  render($("safe"), texts.safe, merged(safe), left, (item) => mark(item, false));
  [$("original").scrollTop, $("safe").scrollTop] = scroll;
  if (state.active) focusSpan(state.active.start, state.active.end, false);
}

function mark(item, original) {
  const element = document.createElement("mark");
  const [start, end] = original ? [item.start, item.end] : item.own;
  const hidden = item.type === "freed" ? "hidden, but need not be" : STATUS[item.status];
  element.className = `f-${FAMILY[item.kind]}`;
  if (item.type === "freed") element.classList.add("freed");
  if (item.status === "visible" || item.status === "partly") element.classList.add("leak");
  if (openDoubts().some((d) => d.start < end && start < d.end)) element.classList.add("doubtful");
  if (item.by_person) element.classList.add("person");
  if (item.start === item.end) element.classList.add("gone");
  element.dataset.keys = item.keys.join(" ");
  element.dataset.start = start;
  element.dataset.end = end;
  element.dataset.label = nice(item.kind) + (item.status === "visible" || item.status === "partly" ? " !" : "");
  const source = item.by_person ? "marked by you" : `score ${item.score.toFixed(2)}, rule ${item.rule}`;
  element.title = `${nice(item.kind)} · ${source} · ${hidden}`;
  if (original) {
    element.tabIndex = item.type === "span" ? 0 : -1;
    element.setAttribute("role", "button");
    element.setAttribute("aria-label", `${state.texts.original.slice(item.start, item.end)}: ${nice(item.kind)}, ${source}, ${hidden}`);
  }
  return element;
}

const LEFT = new Set(["name_left", "digits_left", "known_left"]);
function openDoubts() {
  return state.data.doubts.filter((d) => {
    const over = state.data.spans.filter((s) => s.start < d.end && d.start < s.end);
    return LEFT.has(d.reason) ? !over.length : d.reason === "long_gap" ? false : over.some((s) => !s.by_person);
  });
}

// -- spans and selections ---------------------------------------------------------------------------------------------

function forget() {
  state.selection = state.active = null;
  $("menu").hidden = true;
  document.getSelection().removeAllRanges();
  for (const element of document.querySelectorAll("mark.active")) element.classList.remove("active");
}

const spanAt = (start, end) => state.data.spans.find((s) => s.start === start && s.end === end);

function focusSpan(start, end, scroll = true) {
  for (const element of document.querySelectorAll("mark.active")) element.classList.remove("active");
  const own = $("original").querySelector(`mark[data-start="${start}"][data-end="${end}"]`);
  if (!own) { state.active = null; return; }
  state.selection = null;
  state.active = { start, end };
  own.focus({ preventScroll: true });
  for (const element of twins(own)) {
    element.classList.add("active");
    if (scroll) reveal(element);
  }
}

function reveal(element) {
  const pane = element.closest(".text");
  const place = element.getBoundingClientRect(), frame = pane.getBoundingClientRect();
  if (place.top < frame.top + 20 || place.bottom > frame.bottom - 20)
    pane.scrollTop += place.top - frame.top - frame.height / 2;
}

function twins(element) {
  const keys = element.dataset.keys.split(" ");
  return [...document.querySelectorAll(".text mark")].filter((other) => other.dataset.keys.split(" ").some((key) => keys.includes(key)));
}

function choose(side, start, end, menu = true) {
  state.active = null;
  for (const element of document.querySelectorAll("mark.active")) element.classList.remove("active");
  state.selection = { side, start, end };
  const range = select($(side), start, end);
  const box = range.getBoundingClientRect();
  reveal({ closest: () => $(side), getBoundingClientRect: () => box });
  if (menu) showMenu();
}

function showMenu() {
  const menu = $("menu"), span = state.active && spanAt(state.active.start, state.active.end);
  if (!span && !state.selection) return;
  const anchor = span ? $("original").querySelector("mark.active") : document.getSelection().getRangeAt(0);
  $("menu-info").textContent = span
    ? `${nice(span.kind)} · ${span.by_person ? "marked by you" : `score ${span.score.toFixed(2)} · ${span.rule}`} · ${STATUS[span.status]}`
    : "Mark the selection as";
  $("menu-edit").hidden = !span;
  for (const button of $("menu-kinds").children) button.setAttribute("aria-pressed", String(span?.kind === button.dataset.kind));
  menu.hidden = false;
  const box = anchor.getBoundingClientRect(), size = menu.getBoundingClientRect();
  const below = box.bottom + 6 + size.height < innerHeight;
  menu.style.left = `${Math.max(8, Math.min(box.left, innerWidth - size.width - 8))}px`;
  menu.style.top = `${below ? box.bottom + 6 : Math.max(8, box.top - size.height - 6)}px`;
}

function menuByKey() {
  showMenu();
  if ($("menu").hidden) return say("select a word or a span first");
  ($("menu-kinds").querySelector("[aria-pressed=true]") ?? $("menu-kinds").firstElementChild).focus();
}

function inMenu(key) {
  const buttons = [...$("menu").querySelectorAll("button")].filter((button) => button.checkVisibility());
  const by = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
  buttons[(buttons.indexOf(document.activeElement) + by + buttons.length) % buttons.length].focus();
}

function leave() {
  if (!$("menu").hidden && state.active) {
    $("menu").hidden = true;
    focusSpan(state.active.start, state.active.end, false);
    return;
  }
  forget();
  $("original").focus({ preventScroll: true });
}

async function act(body) {
  if (state.busy || !state.data) return null;
  state.busy = true;
  say("saving …");
  const answer = await call(`api/reports/${encodeURIComponent(state.id)}`, { version: state.data.version, ...body });
  state.busy = false;
  if (!answer) return null;
  $("menu").hidden = true;
  say("saved");
  take(answer.report);
  totals(answer.totals);
  list();
  return answer;
}

async function assign(kind) {
  if (state.selection) {
    const { side, start, end } = state.selection;
    const former = new Set(state.data.spans.map((s) => `${s.start} ${s.end} ${s.kind}`));
    if (!(await act({ action: "add", side, start, end, kind }))) return;
    document.getSelection().removeAllRanges();
    const made = state.data.spans.find((s) => s.by_person && !former.has(`${s.start} ${s.end} ${s.kind}`));
    state.selection = null;
    if (made) focusSpan(made.start, made.end);
  } else if (state.active) {
    const { start, end } = state.active;
    if (await act({ action: "change", start, end, kind })) focusSpan(start, end);
  } else say("select a word or a span first");
}

async function remove() {
  if (!state.active) return say("choose a span first");
  const { start, end } = state.active;
  if (await act({ action: "remove", start, end })) forget();
}

async function move(which) {
  if (!state.active) return say("choose a span first");
  const { start, end } = state.active, words = state.texts.original.words;
  const before = (edge, place) => words.findLast((w) => w[edge] < place)?.[edge];
  const after = (edge, place) => words.find((w) => w[edge] > place)?.[edge];
  const [edge, side] = which.split("-");
  let [low, high] = [start, end];
  if (edge === "start") low = side === "left" ? before("start", start) : after("start", start);
  else high = side === "left" ? before("end", end) : after("end", end);
  if (low === undefined || high === undefined || low >= high) return say("no further word");
  const taken = (await act({ action: "extend", start, end, new_start: low, new_end: high }));
  if (!taken) return;
  focusSpan(low, high);
  if (!$("menu").hidden) showMenu();
}

async function accept() {
  if (!state.data) return;
  if (await act({ action: "accept" })) {
    if ($("f-state").value) arrangeKeeping();
    else step(1, true);
  }
}

function arrangeKeeping() {
  const at = state.shown.indexOf(state.id);
  arrange();
  const next = state.shown[Math.min(Math.max(0, at), state.shown.length - 1)];
  if (next && next !== state.id) open(next);
}

function nextDoubt(by) {
  const places = openDoubts();
  if (!places.length) return say("no doubtful place left in this report");
  const here = state.place ?? (by > 0 ? -1 : Infinity);
  const found = by > 0 ? places.find((d) => d.start > here) ?? places[0] : places.findLast((d) => d.start < here) ?? places.at(-1);
  state.place = found.start;
  const span = state.data.spans.find((s) => s.start < found.end && found.start < s.end);
  if (span) focusSpan(span.start, span.end);
  else choose("original", found.start, found.end, false);
  say(`${SIGNS[found.reason][0]} (${places.indexOf(found) + 1} of ${places.length})`);
}

function nextSpan(by) {
  const spans = state.data.spans;
  if (!spans.length) return;
  const at = state.active ? spans.findIndex((s) => s.start === state.active.start) : by > 0 ? -1 : spans.length;
  const span = spans[(at + by + spans.length) % spans.length];
  focusSpan(span.start, span.end);
}

function word(by, extend) {
  const words = state.texts.original.words, now = state.selection?.side === "original" ? state.selection : state.active;
  if (!words.length) return;
  if (extend && now) {
    const end = by > 0 ? words.find((w) => w.end > now.end)?.end : words.findLast((w) => w.end < now.end)?.end;
    if (end > now.start) choose("original", now.start, end, false);
    return;
  }
  const place = now ? now.start : by > 0 ? -1 : Infinity;
  const found = by > 0 ? words.find((w) => w.start > place) : words.findLast((w) => w.start < place);
  if (found) choose("original", found.start, found.end, false);
}

async function writeGold() {
  const answer = await call("api/gold", {});
  if (answer) say(`${answer.gold_reports} reports written to ${answer.gold}`);
}

// -- events -----------------------------------------------------------------------------------------------------------

for (const side of ["original", "safe"]) {
  const pane = $(side), other = $(side === "original" ? "safe" : "original");
  pane.addEventListener("mouseup", () => setTimeout(() => {
    const range = selected(pane);
    if (!range) return;
    state.active = null;
    state.selection = { side, ...range };
    for (const element of document.querySelectorAll("mark.active")) element.classList.remove("active");
    showMenu();
  }));
  pane.addEventListener("click", (event) => {
    const element = event.target.closest("mark");
    if (!element || selected(pane)) return;
    const own = element.classList.contains("freed") ? null : spanAt(Number(element.dataset.start), Number(element.dataset.end));
    if (own) {
      focusSpan(own.start, own.end);
      showMenu();
    } else if (element.dataset.start !== element.dataset.end)
      choose("original", Number(element.dataset.start), Number(element.dataset.end));
  });
  pane.addEventListener("focusin", (event) => {
    const element = event.target.closest("mark");
    if (element && $("menu").hidden && pane.id === "original" && String(state.active?.start) !== element.dataset.start)
      focusSpan(Number(element.dataset.start), Number(element.dataset.end));
  });
  for (const [name, on] of [["mouseover", true], ["mouseout", false]])
    pane.addEventListener(name, (event) => {
      const element = event.target.closest("mark");
      if (element) for (const twin of twins(element)) twin.classList.toggle("twin", on);
    });
  pane.addEventListener("scroll", () => {
    if (!pane.matches(":hover")) return;
    const room = (p) => Math.max(1, p.scrollHeight - p.clientHeight);
    other.scrollTop = (pane.scrollTop / room(pane)) * room(other);
  });
}

document.addEventListener("mousedown", (event) => {
  if (!$("menu").hidden && !event.target.closest("#menu, .text")) $("menu").hidden = true;
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !state.data || $("help").open) return;
  const control = event.target.closest("button, select, summary, a");
  if (event.target.closest("select") || (control && (event.key === "Enter" || event.key === " "))) return;
  if (event.target.matches("input[type=radio]") && event.key.startsWith("Arrow")) return;
  if (event.target.closest("#menu") && event.key.startsWith("Arrow")) {
    event.preventDefault();
    return inMenu(event.key);
  }
  // by place on the keyboard, since the row of digits needs Shift on some
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  const keys = {
    j: () => step(1), ArrowRight: () => step(1), k: () => step(-1), ArrowLeft: () => step(-1), n: () => nextDoubt(1), N: () => nextDoubt(-1),
    w: () => word(1, false), W: () => word(1, true), b: () => word(-1, false), B: () => word(-1, true), s: () => nextSpan(1), S: () => nextSpan(-1),
    Delete: remove, Backspace: remove, u: () => act({ action: "undo" }), o: () => act({ action: "reopen" }), Enter: accept, m: menuByKey, " ": menuByKey,
    e: writeGold, "[": () => move("end-left"), "]": () => move("end-right"), "{": () => move("start-left"), "}": () => move("start-right"),
    Escape: leave, "?": () => $("help").showModal(),
  };
  const done = digit ? () => assign(DIGITS[digit[1] - 1]) : keys[event.key];
  if (!done || (event.key === " " && !state.active && !state.selection)) return;
  event.preventDefault();
  done();
});

for (const id of ["f-state", "f-reason", "f-kind"]) $(id).addEventListener("change", arrange);
for (const input of document.querySelectorAll("input[name=order]")) input.addEventListener("change", () => { arrange(); if (state.shown.length) open(state.shown[0]); });
$("prev").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("doubt").addEventListener("click", () => nextDoubt(1));
$("undo").addEventListener("click", () => act({ action: "undo" }));
$("accept").addEventListener("click", accept);
$("gold").addEventListener("click", writeGold);
$("menu-delete").addEventListener("click", remove);
for (const button of document.querySelectorAll("[data-move]")) button.addEventListener("click", () => move(button.dataset.move));
$("help-open").addEventListener("click", () => $("help").showModal());
$("help-close").addEventListener("click", () => $("help").close());

async function begin() {
  const all = await call("api/reports");
  if (!all) return;
  for (const r of all.reports) state.reports.set(r.id, r);
  state.order = all.reports.map((r) => r.id);
  state.sample = all.sample;
  state.exported = all.export_reports;
  const offer = (id, values, text) => $(id).append(...values.map((value) => new Option(text(value), value)));
  offer("f-reason", all.reasons.filter((reason) => all.reports.some((r) => r.reasons[reason])), (reason) => SIGNS[reason][0]);
  offer("f-kind", all.kinds.filter((kind) => all.reports.some((r) => r.kinds[kind])), nice);
  const kinds = [...DIGITS, ...all.kinds.filter((kind) => !DIGITS.includes(kind))];
  $("menu-kinds").append(...kinds.map((kind, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.kind = kind;
    button.className = `f-${FAMILY[kind]}`;
    button.textContent = nice(kind);
    if (index < 9) {
      const key = document.createElement("kbd");
      key.textContent = index + 1;
      button.prepend(key);
    }
    button.addEventListener("click", () => assign(kind));
    return button;
  }));
  $("help-kinds").textContent = DIGITS.map((kind, index) => `${index + 1} ${nice(kind)}`).join(", ");
  for (const [name, why] of Object.values(SIGNS)) {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = why;
    $("help-signs").append(term, text);
  }
  totals(all.totals);
  arrange();
  const asked = decodeURIComponent(location.hash.slice(1));
  const first = state.reports.has(asked) ? asked : state.shown.find((id) => state.reports.get(id).state !== "accepted") ?? state.shown[0];
  if (first) await open(first);
}

begin();
