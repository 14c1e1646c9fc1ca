// Pointer, wheel and fingers on a picture: a click sets the cursor, dragging pans, the wheel and two fingers zoom.

let pointerCell = null;
const hoverWatchers = [];
const DRAG = 4; // pixels before a press becomes a drag

function shownCell() {
  return pointerCell || state;
}

function setPointerCell(cell) {
  if (pointerCell === cell || (cell && pointerCell && cell.row === pointerCell.row && cell.key === pointerCell.key)) return;
  pointerCell = cell;
  for (const watcher of hoverWatchers) watcher();
}

function followPointer(picture) {
  const { canvas } = picture;
  const fingers = new Map();
  let drag = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    fingers.set(event.pointerId, place(event));
    drag = { from: place(event), isMoving: false, isPinch: fingers.size > 1 };
    if (state.zoom > 1 || event.pointerType !== "touch") canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = fingers.get(event.pointerId);
    if (!before) return setPointerCell(event.pointerType === "touch" ? null : picture.cellAt(now.x, now.y));
    fingers.set(event.pointerId, now);
    if (fingers.size === 2) return pinch(picture, [...fingers.values()], before, now);
    if (Math.hypot(now.x - drag.from.x, now.y - drag.from.y) > DRAG) drag.isMoving = true;
    if (drag.isMoving && state.zoom > 1) dragView(picture, before, now);
  });
  canvas.addEventListener("pointerup", (event) => {
    const cell = picture.cellAt(place(event).x, place(event).y);
    if (fingers.delete(event.pointerId) && !drag.isMoving && !drag.isPinch && cell) moveCursor(cell.row, cell.key, "pointer");
  });
  canvas.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => setPointerCell(null));
  canvas.addEventListener("dblclick", (event) => zoomAt(picture, place(event), event.shiftKey ? 0.5 : 2));
  canvas.addEventListener("wheel", (event) => wheel(picture, event, place(event)), { passive: false });
}

function zoomAt(picture, { x, y }, factor) {
  const point = picture.pointAt(x, y);
  zoomAround(factor, point.row, point.key);
}

// At the ends of the zoom the wheel is the page's again.
function wheel(picture, event, at) {
  const isIn = event.deltaY < 0;
  if (isIn ? state.zoom >= mostZoom(picture.source.call) : state.zoom <= 1) return;
  event.preventDefault();
  const pixels = event.deltaMode === 1 ? event.deltaY * 30 : event.deltaY;
  zoomAt(picture, at, Math.exp(-clamp(pixels, -240, 240) / 300));
}

function dragView(picture, before, now) {
  const { box, source } = picture;
  const view = windowOf(source.call);
  picture.canvas.classList.add("dragging");
  panBy(((before.y - now.y) / box.h) * view.rows, ((before.x - now.x) / box.w) * view.keys);
}

function pinch(picture, [one, other], before, now) {
  const still = now === one ? other : one;
  const [was, is] = [Math.hypot(before.x - still.x, before.y - still.y), Math.hypot(now.x - still.x, now.y - still.y)];
  if (was > 8) zoomAt(picture, { x: (now.x + still.x) / 2, y: (now.y + still.y) / 2 }, is / was);
}

// One finger scrolls the page over a whole picture, and moves a picture that is zoomed.
function setTouch() {
  for (const picture of pictures) {
    picture.canvas.classList.toggle("zoomed", state.zoom > 1);
    if (state.zoom <= 1) picture.canvas.classList.remove("dragging");
  }
}
