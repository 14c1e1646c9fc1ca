// One head opened, alone or beside a second one.

const shown = { first: null, second: null, difference: null };
const textMode = new TextMode();
let first, second, difference, chart, chartWords, readout;

function buildOpened() {
  first = new Picture("picture", "Weights of the head: queries down, keys across");
  second = new Picture("picture-second", "Weights of the second head");
  difference = new Picture("picture-difference", "First head minus second head");
  pictures.push(first, second, difference);
  chart = el("canvas", { id: "row-chart", class: "chart", role: "img", "aria-label": "Weights of the cursor's query row" });
  chartWords = el("p", { id: "row-words", class: "muted" });
  second.canvas.dataset.side = "b";
  difference.canvas.dataset.side = "difference";
  readout = el("section", { id: "readout", class: "card", "aria-label": "Weight under the cursor" });
  new ResizeObserver(() => refreshChart()).observe(chart);
  const stage = el("div", { class: "stage", id: "stage" }, figure(first, "first"), figure(second, "second"), figure(difference, "difference"));
  byId("opened").append(
    el("div", { id: "opened-tools", class: "tools" }), el("div", { class: "left" }, stage, el("section", { class: "beneath", "aria-label": "The row" }, el("h3", { id: "row-title" }), chart, chartWords)),
    el("div", { class: "right" }, readout, el("aside", { id: "side", "aria-label": "Pairs and metrics" })), textMode.room);
}

function figure(picture, name) {
  return el("figure", { "data-figure": name }, el("figcaption", {}), picture.canvas, el("div", { class: "under" }));
}

function openedTools() {
  const place = openedPlace();
  const call = callAt(place);
  const head = headAt(place);
  const zoomButtons = el("span", { class: "joined", role: "group", "aria-label": "Zoom" },
    button("−", { id: "zoom-out", "aria-label": "Zoom out" }, () => zoomAtCursor(1 / 1.5)), button("fit", { id: "zoom-all" }, () => update({ zoom: 1, at: null })),
    button("+", { id: "zoom-in", "aria-label": "Zoom in" }, () => zoomAtCursor(1.5)));
  const steps = el("span", { class: "joined", role: "group", "aria-label": "Head" },
    button("‹", { id: "previous-head", "aria-label": "Previous head" }, () => stepHead(-1)), button("›", { id: "next-head", "aria-label": "Next head" }, () => stepHead(1)));
  const title = el("h2", { id: "opened-title", tabindex: -1 }, placeName(place));
  const label = explained(el("span", { class: "label has-tip", tabindex: 0, "data-label": head.label }, head.label), [head.label, page.labels[head.label]]);
  const calls = page.calls.length > 1 && choice("opened-call", "call", page.calls.map((one, at) => one.side !== "B" && option(at, one.name, at === place.call)), (value) => openHead(nearest({ ...place, call: Number(value) })));
  const shared = keyValueHead(place);
  const reads = shared !== null && el("span", { class: "muted", id: "opened-reads" }, `reads key/value head ${shared}`);
  return [button("← all heads", { id: "back" }, showAll), title, label, reads, steps, calls, batchChoice("opened-batch"), compareChoice(), topChoice("opened-top"), zoomButtons];
}

// The same head of another call, or the last that it has.
function nearest(place) {
  const call = callAt(place);
  return { call: place.call, batch: Math.min(place.batch, call.batch.length - 1), head: Math.min(place.head, call.head_numbers.length - 1) };
}

function stepHead(step) {
  const count = page.calls[state.call].head_numbers.length;
  openHead({ ...openedPlace(), head: (state.head + step + count) % count });
}

function stepCall(step) {
  const call = nextCall(step);
  if (call !== state.call) openHead(nearest({ ...openedPlace(), call }), { row: state.row, key: state.key });
}

async function showOpened() {
  const [place, other] = [openedPlace(), state.with];
  replaceKeepingFocus(byId("opened-tools"), openedTools());
  replaceKeepingFocus(byId("side"), [differencePanel(place), pairsPanel(place, other), other && pairsPanel(other, place), metricsPanel(place, other)]);
  const [one, two] = await Promise.all([headData(place), other ? headData(other) : null]);
  if (!samePlace(place, openedPlace()) || (other && !samePlace(other, state.with))) return;
  for (const old of [shown.first, shown.second]) if (old && old !== one && old !== two) old.forget();
  const why = two && whyNoDifference(one, two);
  Object.assign(shown, { first: one, second: two, difference: two && !why ? new Difference(one, two) : null });
  fillFigures(why);
  Object.assign(byId("opened").dataset, { view: "head", ...place, comparing: Boolean(two) });
  byId("stage").dataset.pictures = shown.difference ? 3 : two ? 2 : 1;
  first.show(one);
  second.show(two);
  difference.show(shown.difference);
  textMode.show(one);
  refreshCursor();
}

function replaceKeepingFocus(room, children) {
  const focused = room.contains(document.activeElement) ? document.activeElement.id : "";
  room.replaceChildren(...children.filter(Boolean));
  if (focused && byId(focused)) byId(focused).focus();
}

function fillFigures(why) {
  const parts = { first: shown.first, second: shown.second, difference: shown.difference };
  for (const [name, source] of Object.entries(parts)) {
    const room = document.querySelector(`figure[data-figure=${name}]`);
    room.hidden = !source;
    if (!source) continue;
    const title = name === "difference" ? `${shortName(shown.first.place)} − ${shortName(shown.second.place)}` : shown.second ? placeName(source.place) : "";
    room.querySelector("figcaption").replaceChildren(title);
    room.querySelector(".under").replaceChildren(name === "difference" ? differenceScale(source) : weightScale(), " ", el("span", { class: "caption-words", id: `${name}-words` }, pictureWords(source)));
    room.querySelector("canvas").setAttribute("aria-describedby", `${name}-words`);
  }
  if (why) document.querySelector("figure[data-figure=second] .under").append(" ", why);
}

function differenceScale(source) {
  const most = digits(source.largest, 2);
  return el("span", { class: "scale", "data-scale": "difference" }, `−${most} `, ramp("difference"), ` +${most} `, el("i", { class: "swatch hatched" }), " masked in both ", el("i", { class: "swatch nan" }), " NaN");
}

function pictureWords(source) {
  const { queryPool, keyPool, patches } = source;
  const size = `${wholeNumber(source.call.queries)} × ${wholeNumber(source.call.keys)} weights`;
  if (source.kind === "difference" ? source.isExact : source.exact) return `${size}, all exact; one cell is one weight. Colours on a square-root scale.`;
  const frames = patches.length === 1 ? " Exact in the framed window" : ` Exact in the ${patches.length} framed windows`;
  const exact = patches.length ? `${frames}: zoom in, or choose a strongest pair.` : "";
  if (source.cause === "apart") return `${size}: a cell is the largest difference of ${queryPool} × ${keyPool}, taken before pooling, rounded to 8 bits.${exact}`;
  if (queryPool * keyPool === 1) return `${size}; one cell is one weight, rounded to 8 bits.${exact}`;
  if (source.cause === "pools") return `${size}: a cell is the largest weight of ${queryPool} × ${keyPool} on one side less the largest on the other; differences within a cell are not seen.${exact}`;
  return `${size}, max-pooled: a cell is the largest of ${queryPool} × ${keyPool}, rounded to 8 bits.${exact}`;
}

paperPainters.push(() => {
  for (const picture of pictures) {
    picture.resize();
    picture.draw();
  }
  refreshChart();
  if (shown.first && state.view === "head") textMode.show(shown.first);
});

function refreshChart() {
  if (shown.first && first.box && state.view === "head") drawRowChart(chart, first.box, [shown.first, shown.second].filter(Boolean), shownCell().row);
}

const refreshCursor = oncePerFrame(() => {
  if (!shown.first || state.view !== "head") return;
  const { row, key } = shownCell();
  const source = shown.difference || shown.first;
  fillReadout(readout, source, source.at(row, key));
  byId("row-title").replaceChildren("Weights of ", ...rowsName(shown.first, [row, row + 1]), ...rowKey());
  chartWords.textContent = wordsOfRow(row);
  refreshChart();
  redrawPictures();
});

// Which of two heads the bars are, and which the line.
function rowKey() {
  if (!shown.second) return [];
  const names = [shown.first, shown.second].map((one) => shortName(one.place));
  return [el("span", { class: "scale row-key" }, el("i", { class: "swatch bars" }), ` ${names[0]} `, el("i", { class: "swatch line" }), ` ${names[1]}`)];
}

function wordsOfRow(row) {
  const other = shown.second && row < shown.second.call.queries ? shown.second : null;
  if (!other) return rowWords(shown.first, row);
  return [shown.first, other].map((one) => `${shortName(one.place)}: ${rowWords(one, row)}`).join(" ");
}

const sayCursor = afterPause(180, () => {
  if (shown.first) say(`${noteAt(state)} ${spoken(shown.first, shown.first.at(state.row, state.key))}`.trim());
});
