// Keys of an opened head. They act on the picture wherever the focus is, but never inside a field or a list of choices.

const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const PANS = { a: [0, -0.2], d: [0, 0.2], w: [-0.2, 0], s: [0.2, 0] };
const COMMANDS = {
  "+": () => zoomAtCursor(1.5), "=": () => zoomAtCursor(1.5), "-": () => zoomAtCursor(1 / 1.5), "−": () => zoomAtCursor(1 / 1.5),
  0: () => update({ zoom: 1, at: null }),
  m: largestOfRow, n: () => stepPairs(1), p: () => stepPairs(-1),
  "[": () => stepHead(-1), "]": () => stepHead(1), "{": () => stepCall(-1), "}": () => stepCall(1),
  c: () => byId("compare").focus(), x: swapHeads, t: focusText, Escape: showAll,
};

function onKey(event) {
  if (byId("help").open || event.altKey || event.metaKey) return;
  if (event.key === "Escape" && !byId("tip").hidden) return hideTip();
  if (event.target.closest("select, input, textarea")) return;
  if (event.key === "?") return handled(event, () => byId("help").showModal());
  if (state.view !== "head") return;
  if (event.target.classList.contains("picture") && moveByKey(event)) return;
  if (event.ctrlKey) return;
  const command = COMMANDS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (command) return handled(event, command);
  const pan = PANS[event.key.toLowerCase()];
  if (pan && state.zoom > 1) handled(event, () => panShare(pan));
}

function handled(event, work) {
  event.preventDefault();
  work();
}

function panShare([down, across]) {
  const view = windowOf(page.calls[state.call]);
  panBy(down * view.rows, across * view.keys);
}

function moveByKey(event) {
  const { queries, keys } = page.calls[state.call];
  const step = ARROWS[event.key];
  const far = event.shiftKey ? 10 : 1;
  const screen = Math.max(1, Math.round(windowOf(page.calls[state.call]).rows * 0.8));
  const target = step ? [state.row + step[0] * far * rowStep(), state.key + step[1] * far * keyStep()]
    : { Home: event.ctrlKey ? [0, state.key] : [state.row, 0], End: event.ctrlKey ? [queries - 1, state.key] : [state.row, keys - 1],
      PageUp: [state.row - screen, state.key], PageDown: [state.row + screen, state.key] }[event.key];
  if (!target) return false;
  event.preventDefault();
  pointerCell = null;
  moveCursor(target[0], target[1], "keyboard");
  return true;
}

// One step is one weight, or one pixel's worth of them where a weight is smaller than that.
function rowStep() {
  return Math.max(1, Math.round(windowOf(page.calls[state.call]).rows / Math.max(60, first.box ? first.box.h / 2 : 200)));
}

function keyStep() {
  if (state.key < 0) return 1;
  return Math.max(1, Math.round(windowOf(page.calls[state.call]).keys / Math.max(60, first.box ? first.box.w / 2 : 200)));
}

function largestOfRow() {
  if (!shown.first) return;
  const source = shown.first;
  const found = strongestOf(source, state.row);
  if (!found) return;
  moveCursor(state.row, found.key, "keyboard");
  if (found.keys > 1 || found.rows[1] - found.rows[0] > 1) tellNote(`The largest of ${poolWords(source, found)}: which weight it is, the page does not have.`);
}

function swapHeads() {
  if (!state.with) return;
  update({ ...state.with, with: openedPlace() }, { push: true });
}

function focusText() {
  if (textMode.room.hidden) return;
  textMode.room.scrollIntoView({ block: "nearest" });
  (textMode.sentence.querySelector("[tabindex='0']") || textMode.sentence).focus();
}
