// How far apart two sides are: tensors, calls and heads, in tables.

const LINES_AT_FIRST = 12; // of what differs
const LEAST_LINES = 6; // where everything is equal

function measure(measured, name) {
  return measured ? measured.numbers[page.diff.numbers.indexOf(name)] : null;
}

function errorText(value) {
  return value === null || value === undefined ? "–" : value === 0 ? "0" : value.toExponential(1).replaceAll("-", "−").replace("e+", "e");
}

function ulpsText(value) {
  if (value === null || value === undefined) return "–";
  return value >= 1e5 ? errorText(value) : value < 100 && value % 1 ? value.toFixed(1) : wholeNumber(Math.round(value));
}

function cosineText(value) {
  return value === null || value === undefined ? "–" : errorText(1 - value);
}

function passMark(isGood) {
  return el("span", { class: isGood ? "good" : "bad" }, el("span", { "aria-hidden": "true" }, isGood ? "✓" : "✗"), el("span", { class: "unseen" }, isGood ? "equal" : "differs"));
}

function numberCells(measured) {
  return [errorText(measure(measured, "max_abs_error")), errorText(measure(measured, "max_rel_error")), ulpsText(measure(measured, "max_ulps")), cosineText(measure(measured, "cosine")),
    measured ? `${wholeNumber(measured.differing)} of ${wholeNumber(measure(measured, "values"))}` : "–"];
}

const NUMBER_HEADS = ["max abs", "max rel", "ULPs", "1 − cos", "differing"];

function differenceSections() {
  return [callsTable(), headsSection(), tensorsSection()];
}

// What differs comes first, and of what is equal only a little.
function linesAtFirst(all) {
  const differing = all.filter((one) => !one.within).length;
  return Math.min(all.length, differing ? Math.min(differing, LINES_AT_FIRST) : LEAST_LINES);
}

function callsTable() {
  const { pairs } = page.diff;
  if (pairs.length < 2) return null;
  const cells = (pair, at) => {
    const spread = pair.weights ? pair.weights.heads.map((head) => head.js).filter(isKnown) : [];
    const first = [pair.output, pair.weights].filter((part) => part && isKnown(part.total.first_row)).map((part) => part.total.first_row);
    const line = [button(isolated(pair.name), { class: "link" }, () => showPair(at)), passMark(pair.within), ...numberCells(pair.output && pair.output.total),
      errorText(measure(pair.weights && pair.weights.total, "max_abs_error")), spread.length ? errorText(spread.reduce((a, b) => Math.max(a, b))) : "–", first.length ? Math.min(...first) : "–",
      pair.reason ? isolated(pair.reason) : pair.right_name === null ? "" : isolated(`B: ${pair.right_name || "no prefix"}`)];
    line.told = { "data-pair-of-calls": at };
    return line;
  };
  const heads = ["call", "", ...NUMBER_HEADS.map((name) => (name === "max abs" ? "output: max abs" : name)), "weights: max abs", "JS", "first row", ""];
  return el("section", { class: "card", "aria-label": "Calls" }, el("h2", {}, "Calls"), table("difference-of-calls", heads, pairs.map(cells), [0, 1, 10]));
}

function showPair(at) {
  const select = byId("pair");
  select.value = String(at);
  fillHeads(at);
  byId("heads-of-pair").scrollIntoView({ block: "start" });
}

// The pair with the worst head comes first.
function worstPair() {
  const { pairs } = page.diff;
  const apart = (pair) => Math.max(0, ...[pair.output, pair.weights].map((part) => measure(part && part.total, "max_abs_error") || 0));
  return pairs.reduce((best, pair, at) => (Number(pairs[best].within) - Number(pair.within) || apart(pair) - apart(pairs[best])) > 0 ? at : best, 0);
}

function headsSection() {
  const { pairs } = page.diff;
  if (!pairs.length) return null;
  const first = worstPair();
  const select = pairs.length > 1 && choice("pair", "call", pairs.map((pair, at) => option(at, `${pair.within ? "✓" : "✗"} ${pair.name}`, at === first)), (value) => fillHeads(Number(value)));
  const body = el("div", { id: "heads-of-pair" });
  fillHeads(first, body);
  return el("section", { class: "card", "aria-label": "Heads" }, el("div", { class: "bar" }, el("h2", {}, "Differences by head"), select), body);
}

function fillHeads(number, body = byId("heads-of-pair")) {
  const pair = page.diff.pairs[number];
  body.replaceChildren(...[pair.reason && el("p", { class: "bad" }, "The calls cannot be compared: ", isolated(pair.reason)),
    ...["output", "weights"].filter((name) => pair[name]).map((name) => headsTable(pair, name)),
    pair.uncompared && el("p", { class: "muted" }, pair.uncompared)].filter(Boolean));
}

function headsTable(pair, name, isWhole = false) {
  const part = pair[name];
  const most = isWhole ? Infinity : linesAtFirst(part.heads);
  const isBatched = new Set(part.heads.map((head) => head.batch)).size > 1;
  const shown = part.heads.slice(0, most);
  const heads = [isBatched ? "batch, head" : "head", "", ...NUMBER_HEADS, ...(name === "weights" ? ["JS"] : []), "first row", "worst at", "A", "B"];
  const room = el("div", { class: "heads-table" }, el("h3", {}, name === "output" ? "Output" : "Weights", " ", el("small", {}, "equal within ", part.tolerance, "; worst first")),
    table(`${name}-by-head`, heads, shown.map((head) => headCells(pair, name, head, isBatched)), [0, 1]));
  if (part.left_out && isWhole) room.append(el("p", { class: "muted" }, `${counted(part.left_out, "head")} more, less far apart, are not in this page.`));
  if (part.heads.length > shown.length) room.append(button(`${part.left_out ? "the worst" : "all"} ${wholeNumber(part.heads.length)} heads`, {}, () => room.replaceWith(headsTable(pair, name, true))));
  return room;
}

function headCells(pair, name, head, isBatched) {
  const [row, column, left, right] = head.worst || [null, null, "", ""];
  const words = isBatched ? `${head.batch}, ${head.head}` : String(head.head);
  const place = placeInPair(pair, head);
  const at = row === null ? "–" : name === "weights" ? `${wholeNumber(row)} → ${wholeNumber(column)}` : `query ${wholeNumber(row)}, feature ${wholeNumber(column)}`;
  const cells = [place ? button(words, { class: "link", "aria-label": `head ${head.head}, batch ${head.batch}: open` }, () => openCompared(place)) : words, passMark(head.within), ...numberCells(head),
    ...(name === "weights" ? [errorText(head.js)] : []), isKnown(head.first_row) ? wholeNumber(head.first_row) : "–",
    place && row !== null ? button(at, { class: "link" }, () => openAtWorst(place, name, head)) : at, left, right];
  cells.told = { "data-batch": head.batch, "data-head": head.head, "data-quantity": name };
  return cells;
}

function placeInPair(pair, { batch, head }) {
  if (pair.left === null) return null;
  const call = page.calls[pair.left];
  const place = { call: pair.left, batch: call.batch.indexOf(batch), head: call.head_numbers.indexOf(head) };
  return headAt(place) ? place : null;
}

// Where its weights are farthest apart.
function openCompared(place) {
  const head = comparedHead(pairOf(place), "weights", sidesOf(place).place);
  if (head && head.worst) openAtWorst(place, "weights", head);
  else openHead(place, cursorAt(place));
}

// At the weight that differs most; of an output at its query.
function openAtWorst(place, name, head) {
  const [query, column] = head.worst;
  const row = rowOfNumber(callAt(place), query);
  openHead(place, { ...cursorAt(place), row: Math.max(0, row), ...(name === "weights" ? { key: column } : {}) });
}

function tensorsSection() {
  const { tensors, tensors_left_out: leftOut, is_one_input: isOne } = page.diff;
  if (isOne || !tensors.length) return null;
  const differing = tensors.filter((one) => !one.within).length;
  const cells = (one) => {
    const [index, , left, right] = (one.measured && one.measured.worst) || [null, null, "–", "–"];
    const line = [isolated(one.name), passMark(one.within), el("code", {}, one.left), one.right === null ? "same" : el("code", {}, one.right), ...numberCells(one.measured), index ? `[${index.join(", ")}]` : "–", left, right];
    line.told = { "data-tensor": one.name };
    return line;
  };
  const title = el("summary", {}, el("h2", {}, "Tensors"), differing ? el("span", { class: "bad" }, `${differing} ${differing === 1 ? "differs" : "differ"}`) : el("span", { class: "good" }, "all equal"));
  const heads = ["tensor", "", "in A", "in B", ...NUMBER_HEADS, "worst at", "A", "B"];
  const lines = (count) => table("difference-of-tensors", heads, tensors.slice(0, count).map(cells), [0, 1, 2, 3]);
  const room = el("div", { class: "heads-table" }, lines(linesAtFirst(tensors)));
  if (linesAtFirst(tensors) < tensors.length) room.append(button(`all ${wholeNumber(tensors.length)} tensors`, {}, () => room.replaceChildren(lines(tensors.length))));
  return el("details", { id: "tensors", class: "card", open: differing > 0 }, title, room,
    leftOut > 0 && el("p", { class: "muted" }, `${wholeNumber(leftOut)} more are not listed.`));
}
