// The table of results: sorted by any column, filtered, a result opened in a row below its own.

const TALL = 40; // rows, from which on the table scrolls by itself
const tableRows = new Map();
const why = (one) => (one.reason ? isolated(one.reason) : "the reason is not known");

function buildResults() {
  const room = byId("results");
  room.hidden = false;
  room.setAttribute("aria-labelledby", "results-title");
  const same = SAME.length && VARYING.length ? `All: ${SAME.map((part) => part.text(page.results[0])).join(", ")}. ` : VARYING.length ? "" : `${wholeCase(page.results[0])}. `;
  room.append(
    el("div", { class: "tools" }, el("h2", { id: "results-title" }, "Results"), filterTools()),
    el("p", { class: "quiet" }, same, "A column’s name sorts; a backend’s name opens its samples. ★ is the quickest right one on its case."),
    el("div", { class: page.results.length > TALL ? "wide tall" : "wide", role: "region", "aria-labelledby": "results-title", tabindex: "0" },
      el("table", { class: "numbers", id: "table" }, el("thead", {}, el("tr", {}, COLUMNS.map(headerCell))), el("tbody", { id: "rows" }))),
  );
  for (const one of page.results) tableRows.set(one, resultRows(one));
}

function headerCell(column) {
  const control = button([el("span", {}, column.title), el("span", { class: "arrow", "aria-hidden": "true" })], { class: "sort", "data-sort": column.name }, () => sortBy(column));
  return el("th", { scope: "col", class: column.isText ? "text" : null, "data-column": column.name, "aria-sort": "none" }, explained(control, [column.title, column.tip]));
}

// Once the way that puts the best first, again the other way round, and a third time as the results were asked for.
function sortBy(column) {
  const other = column.first === "ascending" ? "descending" : "ascending";
  const next = view.sort !== column.name ? column.first : view.direction === column.first ? other : "";
  update({ sort: next ? column.name : "", direction: next });
  say(next ? `sorted by ${column.title}, ${next}` : "in the order they were asked for");
}

// The row of a result, and one for its reason where that has no room in it.
function resultRows(one) {
  const cells = [...FIRST_COLUMNS, ...CASE_COLUMNS].map((column) => bodyCell(one, column));
  const measures = one.ms ? MEASURE_COLUMNS.map((column) => bodyCell(one, column)) : [el("td", { class: "why", colspan: MEASURE_COLUMNS.length }, why(one)), inLittleRoom(one)];
  const attributes = { "data-result": one.at, "data-backend": one.backend, "data-status": one.status, "data-keys": one.keys, class: one.ms ? "timed" : "untimed" };
  const row = el("tr", attributes, cells, measures);
  if (!one.ms || one.status === "ok") return [row];
  return [row, el("tr", { class: "reason", "data-of": one.at }, el("td", { class: "why", colspan: COLUMNS.length }, el("b", {}, `${one.status}: `), why(one)))];
}

// On a telephone the reason would be out of sight in its column.
function inLittleRoom(one) {
  const known = CASE_COLUMNS.length ? `${one.status}, ${caseText(one)}: ` : `${one.status}: `;
  return el("td", { class: "narrow", colspan: COLUMNS.length - 1 }, el("div", {}, known, why(one)));
}

function bodyCell(one, column) {
  const value = column.value(one);
  const attributes = { class: column.isText ? "text" : null, "data-column": column.name, "data-value": value === null || value === undefined ? "" : String(value) };
  return column.name === "backend" ? el("th", { scope: "row", ...attributes }, column.cell(one)) : el("td", attributes, column.cell(one));
}

function sorted(results) {
  const column = COLUMNS.find(({ name }) => name === view.sort);
  if (!column) return results;
  const key = column.by || column.value;
  const sign = view.direction === "ascending" ? 1 : -1;
  const known = results.filter((one) => one.ms || !MEASURE_COLUMNS.includes(column)).filter((one) => key(one) !== null && key(one) !== undefined);
  const rest = results.filter((one) => !known.includes(one)); // what is not known comes last, either way
  return [...known.sort((a, b) => sign * (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0)), ...rest];
}

function refreshTable() {
  for (const header of document.querySelectorAll("#table th[aria-sort]")) {
    header.setAttribute("aria-sort", header.dataset.column === view.sort ? view.direction : "none");
  }
  const body = byId("rows");
  const focused = document.activeElement;
  forget(body);
  const shown = sorted(shownResults());
  body.replaceChildren(...shown.flatMap((one) => [...tableRows.get(one), one.at === view.open && detailRow(one)].filter(Boolean)));
  shown.forEach((one, at) => tableRows.get(one)[0].classList.toggle("new-case", !view.sort && at > 0 && !isSameCase(one, shown[at - 1])));
  if (!shown.length) body.append(el("tr", {}, el("td", { class: "why", colspan: COLUMNS.length }, "No result is like that.")));
  for (const control of body.querySelectorAll("[data-open]")) {
    const isOpen = Number(control.dataset.open) === view.open;
    control.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) control.setAttribute("aria-controls", "detail");
    else control.removeAttribute("aria-controls");
  }
  if (body.contains(focused)) focused.focus({ preventScroll: true });
  drawAll();
}

// From a chart: the result's row, in whatever is shown.
function openResult(one) {
  if (!passes(one)) update({ filters: {}, open: one.at });
  else update({ open: one.at });
  const control = document.querySelector(`[data-open="${one.at}"]`);
  control.focus({ preventScroll: true });
  control.scrollIntoView({ block: "center" });
}
