// Layers × heads; sorted by a metric they form one list.

function showOverview() {
  const room = byId("overview");
  const focused = room.contains(document.activeElement) ? document.activeElement.id : "";
  forgetTiles();
  if (!room.firstChild) room.append(...overviewSections(), el("div", { id: "tools", class: "tools" }), el("div", { id: "tiles" }));
  if (!page.calls.length) return firstSeen();
  byId("tools").replaceChildren(...overviewTools());
  byId("tiles").replaceChildren(...(state.sort ? [sortedTiles()] : page.diff ? comparedTiles() : page.calls.flatMap((_, number) => [fileTitle(number), callTiles(number)].filter(Boolean))));
  const first = byId("tiles").querySelector(`.tile[data-call="${state.call}"][data-head="${state.head}"]`) || byId("tiles").querySelector(".tile");
  if (first) first.tabIndex = 0;
  if (focused && byId(focused)) byId(focused).focus();
}

function overviewTools() {
  const names = page.metrics.map((metric, at) => [metric, at]).filter(([, at]) => metricRanges[at]);
  const metrics = (chosen) => names.map(([metric]) => option(metric.name, metricName(metric.name), metric.name === chosen));
  const tools = [
    el("h2", {}, page.diff ? "Heads of A and B" : page.calls.length > 1 ? "Layers × heads" : "Heads"),
    choice("colour", "colour by", [option("label", "label", state.colour === "label"), ...metrics(state.colour)], (value) => update({ colour: value })),
    choice("sort", "sort by", [option("", "place", !state.sort), ...metrics(state.sort)], (value) => update({ sort: value })),
    state.sort && button(state.order === "high" ? "↓ highest first" : "↑ lowest first", { id: "order" }, () => update({ order: state.order === "high" ? "low" : "high" })),
    topChoice("overview-top"),
    batchChoice("overview-batch"),
    weightScale(),
  ];
  const at = metricIndex(state.colour);
  if (at >= 0) tools.push(el("p", { class: "definition" }, el("b", {}, metricName(state.colour)), ` ${page.metrics[at].definition} `, rangeScale(at)));
  return tools.filter(Boolean);
}

function batchChoice(id) {
  const { batch } = page.calls[state.call];
  if (batch.length < 2) return null;
  return choice(id, "batch", batch.map((number, at) => option(at, number, at === state.batch)), (value) => update({ batch: Number(value) }, { push: true }));
}

// In long contexts most weights are far below 1.
function topChoice(id) {
  return choice(id, "colours up to", TOPS.map((top) => option(top, top, top === state.top)), (value) => update({ top: Number(value) }));
}

function weightScale() {
  const nan = el("i", { class: "swatch nan" });
  return el("span", { class: "scale", "data-scale": "weights" }, "weight 0 ", ramp("weights"), state.top < 1 ? ` ≥ ${state.top} ` : " 1 ", el("i", { class: "swatch hatched" }), " masked ", nan, " NaN");
}

function rangeScale(at) {
  const { low, high } = metricRanges[at];
  return el("span", { class: "scale" }, `${digits(low, 3)} `, ramp("weights"), ` ${digits(high, 3)} ${unitText(page.metrics[at].unit)}`);
}

function batchIn(call) {
  return Math.min(state.batch, call.batch.length - 1);
}

function callTiles(number) {
  const call = page.calls[number];
  const places = call.head_numbers.map((_, head) => ({ call: number, batch: batchIn(call), head }));
  const title = page.calls.length > 1 && el("h3", {}, isolated(call.own_name || call.name), el("small", {}, `${wholeNumber(call.queries)} × ${wholeNumber(call.keys)}`));
  const grid = tileGrid(places.filter(headAt), call.head_numbers.length);
  return el("section", { class: title ? "call" : "call alone", "data-call": number, "aria-label": call.name }, title, grid);
}

function tileGrid(places, across) {
  const grid = el("div", { class: "grid", role: "group", onkeydown: moveAmongTiles }, places.map(tile));
  grid.style.setProperty("--heads", Math.min(across, 16));
  return grid;
}

function sortedTiles() {
  const at = metricIndex(state.sort);
  const all = page.calls.flatMap((call, number) => call.head_numbers.map((_, head) => ({ call: number, batch: batchIn(call), head }))).filter(headAt);
  const sign = state.order === "high" ? -1 : 1;
  const value = (place) => headAt(place).metrics[at];
  const order = (a, b) => Number(!Number.isFinite(value(a))) - Number(!Number.isFinite(value(b))) || sign * (value(a) - value(b)) || 0;
  return el("section", { class: "call alone sorted", "aria-label": `Heads by ${metricName(state.sort)}` }, tileGrid(all.sort(order), 16));
}

const TILE_STEPS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

function moveAmongTiles(event) {
  const step = TILE_STEPS[event.key];
  if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const all = [...document.querySelectorAll("#tiles .tile")];
  const next = step[0] ? all[all.indexOf(event.target) + step[0]] : nearestTile(all, event.target, step[1]);
  if (!next) return;
  event.target.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

// The tile above or below: of those beyond this one, the nearest row, and in it the nearest column.
function nearestTile(all, from, direction) {
  const own = from.getBoundingClientRect();
  const middle = own.left + own.width / 2;
  const boxes = all.map((element) => [element, element.getBoundingClientRect()]).filter(([, box]) => direction * (box.top - own.top) > own.height / 2);
  const far = ([, box]) => direction * (box.top - own.top) * 1e4 + Math.abs(box.left + box.width / 2 - middle);
  return boxes.length ? boxes.reduce((best, one) => (far(one) < far(best) ? one : best))[0] : null;
}
