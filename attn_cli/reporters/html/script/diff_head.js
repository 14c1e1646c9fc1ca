// Beside an opened head of a comparison: how far it is apart from the other side's.

function differencePanel(place) {
  const pair = pairOf(place);
  if (!pair) return null;
  const left = sidesOf(place).place;
  const parts = ["output", "weights"].map((name) => [name, comparedHead(pair, name, left)]).filter(([, head]) => head);
  if (!parts.length) return block("A against B", el("p", { class: "muted" }, pair.reason ? isolated(pair.reason) : "Not compared."), "against");
  const lines = [["", (head) => passMark(head.within)], ...NUMBER_HEADS.map((name, at) => [name, (head) => numberCells(head)[at]]), ...(pair.weights ? [["JS", (head) => errorText(head.js)]] : []),
    ["first row", (head) => (isKnown(head.first_row) ? wholeNumber(head.first_row) : "–")], ["worst at", (head, name) => worstButton(left, name, head)],
    ["A there", (head) => (head.worst ? head.worst[2] : "–")], ["B there", (head) => (head.worst ? head.worst[3] : "–")]];
  const cells = ([title, text]) => [title || "within", ...parts.map(([name, head]) => text(head, name))];
  const numbers = table("against", ["", ...parts.map(([name]) => name)], lines.map(cells), [0]);
  return block("A against B", [numbers, mapFigure(pair.output, parts.find(([name]) => name === "output")), pair.uncompared && el("p", { class: "muted under" }, pair.uncompared)].filter(Boolean), "against");
}

function worstButton(place, name, head) {
  if (!head.worst) return "–";
  const [row, column] = head.worst;
  const words = name === "weights" ? `${wholeNumber(row)} → ${wholeNumber(column)}` : `query ${wholeNumber(row)}, feature ${wholeNumber(column)}`;
  return button(words, { class: "link", "data-worst": name }, () => openAtWorst(place, name, head));
}

function mapFigure(part, found) {
  if (!part || !part.map || !found || !found[1].cells) return null;
  const { rows: high, columns: wide, row_pool: byRow, column_pool: byColumn, largest } = part.map;
  const canvas = el("canvas", { class: "map", width: wide, height: high, role: "img", "aria-label": `Where the output differs: queries down, features across, at most ${errorText(measure(found[1], "max_abs_error"))}` });
  canvas.style.aspectRatio = String(clamp(wide / high, 1, 4));
  drawMap(part, found[1], canvas)().catch(failed);
  const pooled = byRow * byColumn > 1 ? ` Each cell is the largest of ${byRow} × ${byColumn}.` : "";
  return el("figure", { class: "map-figure" }, el("figcaption", {}, "|A − B| of the output"), canvas,
    el("p", { class: "under" }, el("span", { class: "scale" }, "0 ", ramp("weights"), ` ${errorText(largest)}`), ` queries down, features across; square-root scale.${pooled}`));
}
