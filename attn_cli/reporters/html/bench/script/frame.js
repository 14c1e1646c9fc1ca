// The axes of a chart, and charts that are drawn anew where their room becomes wider or narrower.

const FRAME = { top: 12, right: 14, bottom: 36, left: 62 };

function plotBox(width, height, margins = FRAME) {
  return { x0: margins.left, x1: width - margins.right, y0: height - margins.bottom, y1: margins.top, width, height };
}

// Grid, ticks and the names of both axes; `x` and `y` have a scale, ticks, a text of a tick, and a name.
function axes(box, x, y) {
  const across = (x.ticks || []).map((tick) => [line(x.scale(tick), box.y0, x.scale(tick), box.y1, "grid-line"), words(x.scale(tick), box.y0 + 16, x.text(tick), "tick", "middle")]);
  const down = (y.ticks || []).map((tick) => [line(box.x0, y.scale(tick), box.x1, y.scale(tick), "grid-line"), words(box.x0 - 7, y.scale(tick) + 4, y.text(tick), "tick", "end")]);
  const frame = [line(box.x0, box.y0, box.x1, box.y0, "axis"), line(box.x0, box.y0, box.x0, box.y1, "axis")];
  const names = [x.name && words(box.x1, box.height - 4, x.name, "axis-name", "end"), y.name && words(4, 11, y.name, "axis-name", "start")];
  return svg("g", { class: "axes" }, across, down, frame, names);
}

const rooms = new Map();
const seen = new ResizeObserver((entries) => {
  for (const { target } of entries) drawIn(target);
});

// `draw` gets the width in CSS pixels and gives the drawing.
function chart(draw, className) {
  const room = el("div", { class: `chart-room ${className || ""}` });
  rooms.set(room, { draw, width: 0 });
  seen.observe(room);
  return room;
}

function drawIn(room) {
  const known = rooms.get(room);
  const width = Math.round(room.clientWidth);
  if (!width || width === known.width) return;
  known.width = width;
  hideTip();
  room.replaceChildren(known.draw(width));
}

function drawAll() {
  for (const room of rooms.keys()) if (room.isConnected) drawIn(room);
}

// Charts that are no longer on the page are forgotten.
function forget(element) {
  for (const room of element.querySelectorAll(".chart-room")) {
    seen.unobserve(room);
    rooms.delete(room);
  }
}
