// The weight under the pointer or the cursor, in numbers and in words.

function nameOf(number, token) {
  return token === null ? [number] : [number, " ", isolated(token)];
}

function rowsName(source, [first, behind]) {
  const { call, place } = source;
  if (behind - first > 1) return [`queries ${wholeNumber(queryNumber(call, first))}–${wholeNumber(queryNumber(call, behind - 1))}`];
  return ["query ", ...nameOf(wholeNumber(queryNumber(call, first)), queryToken(call, place.batch, first))];
}

function keysName(source, [first, behind]) {
  if (first < 0) return ["the sink"];
  if (behind - first > 1) return [`keys ${wholeNumber(first)}–${wholeNumber(behind - 1)}`];
  return ["key ", ...nameOf(wholeNumber(first), keyToken(source.call, source.place.batch, first))];
}

function weightWords(cell) {
  if (cell.state === "masked") return Number.isNaN(cell.weight) ? "masked; the row is broken" : "masked";
  if (cell.state === "nan") return "NaN";
  if (cell.isExact) return digits(cell.weight, 7);
  return `≈ ${digits(cell.weight, 2)}`;
}

function howKnown(cell) {
  const [rowsIn, keysIn] = [cell.rows[1] - cell.rows[0], cell.keys[1] - cell.keys[0]];
  if (cell.state === "masked" && Number.isNaN(cell.weight)) return "the query may not see this key; its weight is NaN, as in all of its row";
  if (cell.state === "masked" && cell.weight !== 0) return `the query may not see this key; the mask value gives it ${digits(cell.weight, 5)} all the same`;
  if (cell.state === "masked") return rowsIn * keysIn > 1 ? "no visible key in this cell" : "the query may not see this key; that is not a weight of zero";
  if (cell.state === "nan") return rowsIn * keysIn > 1 ? `NaN among ${wholeNumber(rowsIn)} × ${wholeNumber(keysIn)} weights` : "not a number: see the findings";
  if (cell.isExact) return cell.weight < 0 && !cell.parts ? "exact; below 0, and coloured as 0" : "exact";
  if (rowsIn * keysIn === 1) return "in 8 bits";
  return `largest of ${wholeNumber(rowsIn)} × ${wholeNumber(keysIn)} weights, in 8 bits`;
}

function logitWords(cell) {
  if (cell.logit === null) return null;
  return cell.weight === 0 ? "below what float32 weights tell" : digits(cell.logit, 6);
}

let cellNote = null;

// Said of the cell at the cursor, as long as it stays there.
function tellNote(text) {
  cellNote = { row: state.row, key: state.key, text };
  say(text);
  refreshCursor();
}

function noteAt({ row, key }) {
  return cellNote && cellNote.row === row && cellNote.key === key ? cellNote.text : "";
}

function fillReadout(room, source, cell) {
  const note = noteAt(shownCell());
  const logit = logitWords(cell);
  const value = el("p", { class: "weight", "data-state": cell.state },
    source.kind === "difference" ? signed(cell) : weightWords(cell));
  tellReadout(room, cell);
  room.replaceChildren(
    el("p", { class: "pair" }, el("span", {}, rowsName(source, cell.rows)), el("span", { class: "arrow" }, " → "), el("span", {}, keysName(source, cell.keys))),
    value,
    el("p", { class: "muted how" }, source.kind === "difference" ? differenceWords(cell) : howKnown(cell)),
    logit === null ? "" : el("p", { class: "logit" }, "logit ", el("b", {}, logit)),
    note ? el("p", { class: "note", id: "cell-note" }, isolated(note)) : "",
  );
}

// The same in attributes, with every digit, for programs that read the page.
function tellReadout(room, cell) {
  const { row, key } = shownCell();
  const isSink = key < 0 && cell.state === "weight";
  const kind = cell.state !== "weight" ? cell.state : isSink ? "sink" : cell.isExact ? "exact" : "pooled";
  Object.assign(room.dataset, { readout: "", row, key, kind, exact: cell.isExact, weight: cell.weight, logit: cell.logit ?? "",
    rows: cell.rows[1] - cell.rows[0], keys: cell.keys[1] - cell.keys[0] });
}

function signed(cell) {
  if (cell.state !== "weight") return weightWords(cell);
  return `${cell.weight > 0 ? "+" : ""}${digits(cell.weight, cell.isExact ? 6 : 2)}`;
}

function differenceWords(cell) {
  const [one, other] = cell.parts;
  const [own, others] = [shown.first, shown.second].map((source) => shortName(source.place));
  const size = `${wholeNumber(cell.rows[1] - cell.rows[0])} × ${wholeNumber(cell.keys[1] - cell.keys[0])}`;
  const words = `${own}: ${weightWords(one)}, ${others}: ${weightWords(other)}`;
  if (cell.state === "weight" && cell.cause === "apart") return `the largest difference of ${size}, in 8 bits (the largest weights there are ${words})`;
  if (cell.state === "weight" && cell.cause === "pools") return `${words}: the largest of ${size} weights each, less one another; differences within are not seen`;
  return `${words}; ${howKnown(cell)}`;
}

function spoken(source, cell) {
  const words = (parts) => parts.map((part) => (typeof part === "string" ? part : part.textContent)).join("");
  const logit = logitWords(cell);
  const weight = cell.state === "weight" ? `weight ${weightWords(cell).replace("≈", "about")}` : weightWords(cell);
  return `${words(rowsName(source, cell.rows))} to ${words(keysName(source, cell.keys))}: ${weight}${logit ? `, logit ${logit}` : ""}, ${howKnown(cell)}`;
}
