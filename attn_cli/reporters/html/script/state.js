// What is shown, and its spelling in the URL's fragment. Places are positions in the page's lists; the fragment has the
// numbers of the whole call, which mean something to a reader.

const state = {
  view: "all", call: 0, batch: 0, head: 0, with: null,
  row: 0, key: 0, zoom: 1, at: null,
  sort: "", order: "high", colour: "label", top: 1,
};
const TOPS = [1, 0.25, 0.06, 0.01, 0.001]; // weights that may have the strongest colour
const watchers = [];

function onChange(watcher) {
  watchers.push(watcher);
}

// `push` makes a step that the browser's back button takes back.
function update(changes, { push = false, by = "pointer" } = {}) {
  const before = { ...state };
  Object.assign(state, changes);
  keepInside();
  if (push) writeFragment(true);
  else laterFragment();
  for (const watcher of watchers) watcher(before, by);
}

function openedPlace() {
  return { call: state.call, batch: state.batch, head: state.head };
}

function keepInside() {
  if (!page.calls.length) return void (state.view = "all");
  state.call = clamp(state.call, 0, page.calls.length - 1);
  const call = page.calls[state.call];
  state.batch = clamp(state.batch, 0, call.batch.length - 1);
  state.head = clamp(state.head, 0, call.head_numbers.length - 1);
  state.row = clamp(state.row, 0, call.queries - 1);
  state.key = clamp(state.key, call.has_sinks ? -1 : 0, call.keys - 1);
  if (state.with && !headAt(state.with)) state.with = null;
}

function fragment() {
  if (!page.calls.length) return "#";
  const parts = new URLSearchParams();
  const call = page.calls[state.call];
  if (state.view === "head" || state.call) parts.set("call", state.call);
  if (call.batch.length > 1) parts.set("batch", call.batch[state.batch]);
  if (state.view === "head") {
    parts.set("head", call.head_numbers[state.head]);
    if (state.with) parts.set("with", numbersOf(state.with).join("."));
    parts.set("q", queryNumber(call, state.row));
    parts.set("k", state.key < 0 ? "sink" : state.key);
    if (state.zoom > 1) parts.set("zoom", Number(state.zoom.toFixed(3)));
    if (state.zoom > 1 && state.at) parts.set("at", state.at.map((value) => Number(value.toFixed(1))).join(","));
  }
  if (state.sort || page.order) parts.set("sort", `${state.sort}.${state.order}`);
  if (state.colour !== "label" || page.metric) parts.set("colour", state.colour);
  if (state.top !== 1) parts.set("top", state.top);
  return `#${parts}`.replaceAll("%2C", ",");
}

function numbersOf(place) {
  const call = callAt(place);
  return [place.call, call.batch[place.batch], call.head_numbers[place.head]];
}

function writeFragment(push) {
  const wanted = fragment();
  if (wanted === (location.hash || "#")) return;
  try {
    history[push ? "pushState" : "replaceState"](null, "", wanted);
  } catch {
    if (push) location.hash = wanted; // where a file may not use the history
  }
}

// Browsers refuse too many changes of the address in a short time.
const laterFragment = afterPause(250, () => writeFragment(false));

function whole(text, otherwise) {
  const value = Number.parseInt(text, 10);
  return Number.isFinite(value) ? value : otherwise;
}

function positionIn(list, text) {
  return Math.max(0, list.indexOf(whole(text, list[0])));
}

function readPlace(text) {
  const [number, batch, head] = (text || "").split(".").map((part) => whole(part, -1));
  const call = page.calls[number];
  if (!call) return null;
  const place = { call: number, batch: call.batch.indexOf(batch), head: call.head_numbers.indexOf(head) };
  return headAt(place) ? place : null;
}

const SEEN = ["call", "batch", "head", "with", "q", "k", "zoom", "at", "sort", "colour", "top"];

// A fragment that names an element of the page, as that of the skip link does, says nothing of what is seen.
function isPlaceOnPage() {
  const name = location.hash.slice(1);
  return name !== "" && !SEEN.some((part) => new URLSearchParams(name).has(part)) && byId(name) !== null;
}

function readFragment() {
  if (!page.calls.length) return { view: "all" };
  const parts = new URLSearchParams(location.hash.slice(1));
  const number = clamp(whole(parts.get("call"), 0), 0, page.calls.length - 1);
  const call = page.calls[number];
  const at = (parts.get("at") || "").split(",").map(Number);
  const row = rowOfNumber(call, whole(parts.get("q"), queryNumber(call, 0)));
  return {
    view: parts.has("head") ? "head" : "all",
    call: number,
    batch: parts.has("batch") ? positionIn(call.batch, parts.get("batch")) : firstBatch(call),
    head: positionIn(call.head_numbers, parts.get("head")),
    with: readPlace(parts.get("with")),
    row: Math.max(0, row),
    key: parts.get("k") === "sink" ? -1 : whole(parts.get("k"), 0),
    hasCursor: parts.has("q"),
    missing: missingOf(parts, call),
    zoom: Math.max(1, Number(parts.get("zoom")) || 1),
    at: at.length === 2 && at.every(Number.isFinite) ? at : null,
    top: TOPS.includes(Number(parts.get("top"))) ? Number(parts.get("top")) : 1,
    ...readOrder(parts),
  };
}

// What a link names that is not on this page, in words.
function missingOf(parts, call) {
  const { batch, head_numbers: heads, queries, keys, has_sinks: hasSinks } = call;
  const isThere = {
    call: (number) => number >= 0 && number < page.calls.length,
    batch: (number) => batch.includes(number),
    head: (number) => heads.includes(number),
    q: (number) => inside(rowOfNumber(call, number), queries) >= 0,
    k: (number) => (parts.get("k") === "sink" ? hasSinks : inside(number, keys) >= 0),
  };
  const names = { call: "call", batch: "batch", head: "head", q: "query", k: "key" };
  const asked = parts.has("head") ? Object.keys(isThere).filter((name) => parts.has(name)) : [];
  return asked.filter((name) => !isThere[name](whole(parts.get(name), -1))).map((name) => `${names[name]} ${parts.get(name).slice(0, 12)}`);
}

// Without anything said in the fragment the metric that the command was asked for comes first.
function readOrder(parts) {
  const asked = metricIndex(page.metric) >= 0 ? page.metric : "";
  const [sort, order] = (parts.get("sort") ?? (asked && page.order ? `${asked}.${page.order}` : "")).split(".");
  const colour = parts.get("colour") ?? asked;
  return { sort: metricIndex(sort) >= 0 ? sort : "", order: order === "low" ? "low" : "high", colour: metricIndex(colour) >= 0 ? colour : "label" };
}

// A head opened without a cursor begins at its strongest pair.
function cursorAt(place) {
  const strongest = headAt(place).top[0];
  return strongest ? { row: strongest[0], key: strongest[1] } : { row: 0, key: 0 };
}

function openHead(asked, changes) {
  const { place, other } = sidesOf(asked);
  const isNewCall = place.call !== state.call || state.view !== "head";
  const view = isNewCall ? { ...cursorAt(place), zoom: 1, at: null } : {};
  const compared = page.diff ? { with: other } : samePlace(place, state.with) ? { with: null } : {};
  update({ view: "head", ...place, ...view, ...compared, ...changes }, { push: true });
}

function showAll() {
  update({ view: "all", with: null, zoom: 1, at: null }, { push: true });
}
