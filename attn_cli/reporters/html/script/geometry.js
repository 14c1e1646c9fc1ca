// Which part of the weights is in view, and where a weight lies on the canvas.

const FEWEST_CELLS = 4;

function mostZoom(call) {
  return Math.max(1, Math.max(call.queries, call.keys) / FEWEST_CELLS);
}

function stretch(count, zoom) {
  return Math.min(count, Math.max(count / zoom, FEWEST_CELLS));
}

// The part in view, in rows and keys; its ends may lie within a cell.
function windowOf(call) {
  const rows = stretch(call.queries, state.zoom);
  const keys = stretch(call.keys, state.zoom);
  const [row, key] = state.at || [call.queries / 2, call.keys / 2];
  const q0 = clamp(row - rows / 2, 0, call.queries - rows);
  const k0 = clamp(key - keys / 2, 0, call.keys - keys);
  return { q0, q1: q0 + rows, k0, k1: k0 + keys, rows, keys };
}

// Zoom by a factor so that the weight at (row, key) stays where it is.
function zoomAround(factor, row, key) {
  const call = page.calls[state.call];
  const before = windowOf(call);
  const zoom = clamp(state.zoom * factor, 1, mostZoom(call));
  const [rows, keys] = [stretch(call.queries, zoom), stretch(call.keys, zoom)];
  const at = [row + (before.q0 + before.rows / 2 - row) * (rows / before.rows), key + (before.k0 + before.keys / 2 - key) * (keys / before.keys)];
  update({ zoom, at: zoom > 1 ? at : null });
}

function zoomAtCursor(factor) {
  zoomAround(factor, state.row + 0.5, Math.max(0, state.key) + 0.5);
}

function panBy(rows, keys) {
  const call = page.calls[state.call];
  const view = windowOf(call);
  const row = clamp(view.q0 + rows, 0, call.queries - view.rows) + view.rows / 2;
  const key = clamp(view.k0 + keys, 0, call.keys - view.keys) + view.keys / 2;
  update({ at: [row, key] });
}

function moveCursor(row, key, by, changes) {
  const call = page.calls[state.call];
  const place = { row: clamp(row, 0, call.queries - 1), key: clamp(key, call.has_sinks ? -1 : 0, call.keys - 1) };
  update({ ...place, ...viewWith(call, place), ...changes }, { by });
}

// The view moved just as far as it takes to have the cursor in it.
function viewWith(call, { row, key }) {
  if (state.zoom <= 1) return {};
  const view = windowOf(call);
  const shift = (value, low, high) => (value < low ? value - low : value + 1 > high ? value + 1 - high : 0);
  const [down, across] = [shift(row, view.q0, view.q1), key < 0 ? 0 : shift(key, view.k0, view.k1)];
  return { at: [view.q0 + view.rows / 2 + down, view.k0 + view.keys / 2 + across] };
}

const GAP = 6;
const BOTTOM = 6;

// Where the plot lies within a canvas so wide, in CSS pixels.
function plotBox(call, width, margins) {
  const aspect = clamp(call.queries / call.keys, 0.1, 2);
  const sink = call.has_sinks ? clamp(width * 0.035, 12, 26) : 0;
  const left = margins.left + (sink ? sink + GAP : 0);
  const highest = Math.max(260, Math.min(window.innerHeight * 0.66, 900));
  let w = Math.max(60, width - left - margins.right);
  let h = Math.max(w * aspect, Math.min(w, 64));
  if (h > highest) {
    w = Math.min(w, Math.max(highest / aspect, 200));
    h = highest;
  }
  return { x: left, y: margins.top, w, h, sink, sinkX: margins.left, right: margins.right };
}
