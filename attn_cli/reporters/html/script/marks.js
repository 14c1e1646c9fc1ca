// What is drawn around and over the cells.

function pictureColours() {
  return { ink: cssColour("--ink"), muted: cssColour("--muted"), line: cssColour("--line"), ground: cssColour("--ground"), hatch: cssColour("--hatch") };
}

const hatches = new Map();

// Masked cells are clear, so that this shows through: lines of the same width at every zoom.
function hatch(context, colours, ratio) {
  const key = `${colours.hatch} ${colours.ground} ${ratio}`;
  if (!hatches.has(key)) hatches.set(key, hatchTile(colours, ratio));
  const pattern = context.createPattern(hatches.get(key), "repeat");
  pattern.setTransform(new DOMMatrix().scale(1 / ratio));
  return pattern;
}

function hatchTile(colours, ratio) {
  const size = Math.round(7 * ratio);
  const canvas = el("canvas", { width: size, height: size });
  const context = canvas.getContext("2d");
  context.fillStyle = colours.ground;
  context.fillRect(0, 0, size, size);
  Object.assign(context, { strokeStyle: colours.hatch, lineWidth: 1.2 * ratio });
  context.beginPath();
  for (const shift of [-size, 0, size]) {
    context.moveTo(shift - 1, size + 1);
    context.lineTo(shift + size + 1, -1);
  }
  context.stroke();
  return canvas;
}

function drawPart(context, source, box, view, ratio) {
  const down = poolingFor((box.h / view.rows) * source.queryPool * ratio);
  const across = poolingFor((box.w / view.keys) * source.keyPool * ratio);
  const [high, wide] = [source.queryPool * down, source.keyPool * across];
  context.drawImage(source.levels.canvas(down, across), view.k0 / wide, view.q0 / high, view.keys / wide, view.rows / high, box.x, box.y, box.w, box.h);
}

// Windows of exact weights over the pooled picture, framed once they are large enough to be looked at.
function drawPatches(context, source, box, view, colours) {
  const [high, wide] = [box.h / view.rows, box.w / view.keys];
  for (const patch of source.patches) {
    const [x, y] = [box.x + (patch.key - view.k0) * wide, box.y + (patch.query - view.q0) * high];
    const [w, h] = [patch.columns * wide, patch.rows * high];
    if (x + w < box.x || y + h < box.y || x > box.x + box.w || y > box.y + box.h) continue;
    if (high * patch.rows < 12 || wide * patch.columns < 12) {
      if (patch.rows > 1) frame(context, x + w / 2, y + h / 2, Math.max(w, LEAST_FRAME), Math.max(h, LEAST_FRAME), colours.muted);
      continue;
    }
    context.clearRect(x, y, w, h);
    context.fillStyle = hatch(context, colours, window.devicePixelRatio || 1);
    context.fillRect(x, y, w, h);
    context.drawImage(patch.levels.canvas(1, 1), x, y, w, h);
    drawGrid(context, box, view, colours, [1, 1], patch);
    frame(context, x + w / 2, y + h / 2, w, h, colours.ink);
  }
}

const LEAST_FRAME = 9; // pixels: a smaller window still shows where it is

function frame(context, x, y, w, h, colour) {
  Object.assign(context, { strokeStyle: colour, lineWidth: 1 });
  context.strokeRect(Math.round(x - w / 2) + 0.5, Math.round(y - h / 2) + 0.5, Math.round(w), Math.round(h));
}

const GRID = 12; // pixels of a cell from which on cells are set apart

// Lines between cells of so many rows and keys, within the part of the weights that they cover.
function drawGrid(context, box, view, colours, [down, across], part) {
  const [high, wide] = [box.h / view.rows, box.w / view.keys];
  if (Math.min(high * down, wide * across) < GRID) return;
  const [top, left] = [Math.max(part.query, view.q0), Math.max(part.key, view.k0)];
  const [bottom, right] = [Math.min(part.query + part.rows, view.q1), Math.min(part.key + part.columns, view.k1)];
  const [x, y] = [(key) => box.x + (key - view.k0) * wide, (row) => box.y + (row - view.q0) * high];
  context.fillStyle = colours.ground;
  for (let row = Math.ceil(top / down) * down; row < bottom; row += down) context.fillRect(x(left), Math.round(y(row)), x(right) - x(left), 1);
  for (let key = Math.ceil(left / across) * across; key < right; key += across) context.fillRect(Math.round(x(key)), y(top), 1, y(bottom) - y(top));
}

// A cross in every NaN cell that is large enough for one.
function drawNanMarks(context, source, box, view) {
  const [high, wide] = [(box.h / view.rows) * source.queryPool, (box.w / view.keys) * source.keyPool];
  if (Math.min(high, wide) < 7) return;
  Object.assign(context, { strokeStyle: "#ffffff", lineWidth: 1.5 });
  context.beginPath();
  for (let row = Math.floor(view.q0 / source.queryPool); row * source.queryPool < view.q1; row++) {
    for (let column = Math.floor(view.k0 / source.keyPool); column * source.keyPool < view.k1; column++) {
      if (source.cells[row * source.columns + column] !== NAN_CODE) continue;
      const x = box.x + (column * source.keyPool - view.k0) * (box.w / view.keys) + wide / 2;
      const y = box.y + (row * source.queryPool - view.q0) * (box.h / view.rows) + high / 2;
      cross(context, x, y, Math.min(5, high / 4, wide / 4));
    }
  }
  context.stroke();
}

// The same in the sink's column.
function drawNanInSink(context, source, box, view) {
  const high = (box.h / view.rows) * source.sinkPool;
  if (high < 7) return;
  Object.assign(context, { strokeStyle: "#ffffff", lineWidth: 1.5 });
  context.beginPath();
  source.sinkLevels.codes.forEach((code, at) => {
    if (code === NAN_CODE) cross(context, box.sinkX + box.sink / 2, box.y + ((at + 0.5) * source.sinkPool - view.q0) * (box.h / view.rows), Math.min(5, high / 4));
  });
  context.stroke();
}

function cross(context, x, y, size) {
  context.moveTo(x - size, y - size);
  context.lineTo(x + size, y + size);
  context.moveTo(x + size, y - size);
  context.lineTo(x - size, y + size);
}

// The weights themselves, where every cell is one weight and has the space.
function drawNumbers(context, source, box, view) {
  if (source.queryPool * source.keyPool !== 1) return;
  Object.assign(context, { font: FONT.replace("12px", "11px"), textAlign: "center", textBaseline: "middle" });
  const anchors = (source.kind === "difference" ? DIVERGING : SEQUENTIAL)[theme()];
  for (let row = Math.floor(view.q0); row < view.q1; row++) {
    for (let key = Math.floor(view.k0); key < view.k1; key++) {
      const cell = source.at(row, key);
      if (cell.state !== "weight") continue;
      context.fillStyle = inkOn(mixed(anchors, shareOfCode(source.cells[row * source.columns + key], source.kind)));
      const text = cell.weight.toFixed(2).replace("-", "−").replace("0.", ".");
      context.fillText(text, box.x + ((key + 0.5 - view.k0) / view.keys) * box.w, box.y + ((row + 0.5 - view.q0) / view.rows) * box.h);
    }
  }
}

function drawFrame(context, box, colours) {
  Object.assign(context, { strokeStyle: colours.line, lineWidth: 1 });
  context.strokeRect(box.x - 0.5, box.y - 0.5, box.w + 1, box.h + 1);
  if (box.sink) context.strokeRect(box.sinkX - 0.5, box.y - 0.5, box.sink + 1, box.h + 1);
}

function drawCursor(picture, view, colours) {
  const hovered = pointerCell;
  outlineCell(picture, view, state.row, state.key, colours, true);
  if (hovered && (hovered.row !== state.row || hovered.key !== state.key)) outlineCell(picture, view, hovered.row, hovered.key, colours, false);
}

function outlineCell(picture, view, row, key, colours, hasCross) {
  const { context, box } = picture;
  const [high, wide] = [box.h / view.rows, box.w / view.keys];
  const y = box.y + (row - view.q0) * high;
  const x = key < 0 ? box.sinkX : box.x + (key - view.k0) * wide;
  if (y + high <= box.y || y >= box.y + box.h || (key >= 0 && (x + wide <= box.x || x >= box.x + box.w))) return;
  const [w, h] = [Math.max(key < 0 ? box.sink : wide, 5), Math.max(high, 5)];
  const [left, top] = [x + ((key < 0 ? box.sink : wide) - w) / 2, y + (high - h) / 2];
  if (hasCross) hairlines(context, box, left + w / 2, top + h / 2, colours);
  for (const [colour, width] of [[colours.ground, 4], [colours.ink, 1.8]]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: width });
    context.strokeRect(left, top, w, h);
  }
}

// Small arrows at the plot's edges lead the eye to the cursor without covering weights.
function hairlines(context, box, x, y, colours) {
  context.fillStyle = colours.ink;
  context.beginPath();
  context.moveTo(x - 4, box.y - 6);
  context.lineTo(x + 4, box.y - 6);
  context.lineTo(x, box.y);
  context.moveTo(box.sinkX - 6, y - 4);
  context.lineTo(box.sinkX - 6, y + 4);
  context.lineTo(box.sinkX, y);
  context.fill();
}
