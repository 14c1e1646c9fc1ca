// What the page of a check or a comparison opens with, and how its calls belong together.

function fillVerdictHeader() {
  const said = page.check ? page.check.files.map((file) => `${file.name} (${counted(file.calls, "call")})`) : page.diff.sides.map(sideWords);
  byId("subtitle").replaceChildren(...said.slice(0, 8).flatMap((part, at) => [at ? " · " : "", isolated(part)]), said.length > 8 ? ` · ${counted(said.length - 8, "file")} more` : "");
  byId("foot").replaceChildren(`${page.note} `, el("span", {}, `attn ${page.version}`));
}

function sideWords(side) {
  return `${side.name}: ${[side.file, side.device, side.dtype, side.ran].filter(Boolean).join(", ")}`;
}

function overviewSections() {
  const sections = page.check ? [checkVerdict(), page.findings.length && findingsSection(), rulesSection(), worthSection(), summarySection()]
    : page.diff ? [diffVerdict(), ...differenceSections(), page.findings.length && findingsSection(), page.calls.length && summarySection()]
    : [summarySection(), findingsSection(), worthSection()];
  return sections.filter(Boolean);
}

function verdict(state, title, ...words) {
  const mark = { good: "✓", bad: "✗", plain: "" }[state];
  return el("section", { id: "verdict", class: "card", "data-state": state, "aria-label": "Verdict" }, el("h2", { class: state }, mark && el("span", { "aria-hidden": "true" }, `${mark} `), title), words);
}

function checkVerdict() {
  const { verdict: said, state, refused, told } = page.check;
  const words = refused.map((text) => el("p", { class: "bad" }, "not checked: ", isolated(text)));
  return verdict(state, said, words, told.map((text) => el("p", { class: "muted" }, isolated(text))), filesTable());
}

function filesTable() {
  const { files } = page.check;
  if (files.length < 2) return null;
  const cells = (file) => [isolated(file.name), wholeNumber(file.calls), ...["error", "warning", "info"].map((severity) => file.findings[severity] ? wholeNumber(file.findings[severity]) : "–")];
  return table("files", ["file", "calls", "errors", "warnings", "notes"], files.map(cells), [0]);
}

function diffVerdict() {
  const { within, verdict: said, tolerances, notes, settings, alone } = page.diff;
  const words = [
    tolerances.length > 0 && el("p", {}, "Equal means: ", tolerances.map((text, at) => [at ? "; " : "", el("code", {}, text)])),
    settings.length > 0 && table("settings", ["setting", "A", "B"], settings.map((one) => one.map((text) => isolated(text))), [0, 1, 2]),
    page.diff.sides.map((side) => side.note && el("p", { class: "muted" }, `${side.name}: `, isolated(side.note))),
    notes.map((note) => el("p", { class: "muted" }, isolated(note))),
    alone.map(aloneWords),
  ];
  return verdict(within ? "good" : "bad", [within ? "A and B agree" : "A and B differ", el("small", {}, ` ${said}`)], words);
}

function aloneWords({ side, tensors, calls }) {
  const names = [...tensors, ...calls.map((prefix) => `the call ${prefix || "without a prefix"}`)];
  return el("p", {}, `In ${side} alone: `, names.slice(0, 20).map((name, at) => [at ? ", " : "", isolated(name)]), names.length > 20 ? ` and ${wholeNumber(names.length - 20)} more` : "");
}

// Numbers stand to the right; the columns listed in `words` hold words.
function table(id, heads, lines, words) {
  const side = (at) => (words.includes(at) ? "word" : "number");
  const head = el("tr", {}, heads.map((name, at) => el("th", { scope: "col", class: side(at) }, name)));
  const line = (cells) => el("tr", cells.told || {}, cells.map((cell, at) => el(at ? "td" : "th", at ? { class: side(at) } : { scope: "row", class: side(at) }, cell)));
  return el("div", { class: "wide", role: "region", tabindex: 0, "aria-label": `Table: ${id.replaceAll("-", " ")}` }, el("table", { id, class: "numbers" }, el("thead", {}, head), el("tbody", {}, lines.map(line))));
}

// What stands above the calls of one of several files.
function fileTitle(number) {
  const file = (call) => (call ? call.file : undefined);
  if (!page.check || page.check.files.length < 2 || file(page.calls[number]) === file(page.calls[number - 1])) return null;
  return el("h3", { class: "file-title" }, isolated(file(page.calls[number])));
}

function fileOf(finding) {
  const isAmbiguous = page.check && page.check.files.length > 1 && isKnown(finding.call);
  return isAmbiguous ? page.calls[finding.call].file : "";
}

function pairOf(place) {
  return page.diff ? page.diff.pairs.find((pair) => pair.left === place.call || pair.right === place.call) : null;
}

// A head of a comparison opens with the same head of the other side: A first.
function sidesOf(place) {
  const pair = pairOf(place);
  if (!pair || pair.right === null) return { place, other: null };
  const [left, right] = [pair.left, pair.right].map((call) => matching(place, call));
  return headAt(left) && headAt(right) ? { place: left, other: right } : { place, other: null };
}

// The head of another call with the same numbers.
function matching(place, number) {
  const [call, other] = [callAt(place), page.calls[number]];
  return { call: number, batch: other.batch.indexOf(call.batch[place.batch]), head: other.head_numbers.indexOf(call.head_numbers[place.head]) };
}

// The next call that opens by itself: the B side comes with its A.
function nextCall(step) {
  let call = state.call + step;
  while (page.calls[call] && page.calls[call].side === "B") call += step;
  return page.calls[call] ? call : state.call;
}

// The batch item that is shown at first: that of the worst finding.
function firstBatch(call) {
  const worst = page.check || page.diff ? page.findings.find((one) => isKnown(one.batch)) : null;
  return worst ? Math.max(0, call.batch.indexOf(worst.batch)) : 0;
}
