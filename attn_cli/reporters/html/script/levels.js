// A pyramid of max-pooled pictures, each level made when it is first drawn. Codes are ordered so that the largest code
// is the largest weight, NaN beats every weight, and masked loses to everything.

const LEVELS_KEPT = 4;
const BY_CODE = Uint8Array.from({ length: 256 }, (_, code) => code);
const BY_DISTANCE = Uint8Array.from({ length: 256 }, (_, code) => (code === MASKED ? 0 : code === NAN_CODE ? 255 : 1 + Math.floor(Math.abs(code - 127.5))));

function pooled(codes, rows, columns, down, across, strength) {
  const size = { rows: Math.ceil(rows / down), columns: Math.ceil(columns / across) };
  const out = new Uint8Array(size.rows * size.columns);
  for (let row = 0; row < rows; row++) {
    const to = Math.floor(row / down) * size.columns;
    for (let column = 0; column < columns; column++) {
      const code = codes[row * columns + column];
      const at = to + Math.floor(column / across);
      if (strength[code] > strength[out[at]]) out[at] = code;
    }
  }
  return { codes: out, ...size };
}

// On a canvas of its own, or on one that is there and may be used anew.
function painted(codes, rows, columns, kind, canvas = el("canvas")) {
  Object.assign(canvas, { width: columns, height: rows });
  const image = new ImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const table = tableOf(kind);
  for (let i = 0; i < codes.length; i++) pixels[i] = table[codes[i]];
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

class Levels {
  constructor(codes, rows, columns, kind) {
    Object.assign(this, { codes, rows, columns, kind });
    this.strength = kind === "difference" ? BY_DISTANCE : BY_CODE;
    this.made = new Map();
  }

  // The finest level of which `down` cells or fewer make a row; 1, 1 is the picture itself.
  canvas(down, across) {
    const key = `${down} ${across} ${tableKey(this.kind)}`;
    const level = this.made.get(key) || this.paint(down, across);
    this.made.delete(key);
    this.made.set(key, level);
    if (this.made.size > LEVELS_KEPT) this.made.delete(this.made.keys().next().value);
    return level;
  }

  forget() {
    this.made.clear();
  }

  paint(down, across) {
    if (down * across === 1) return painted(this.codes, this.rows, this.columns, this.kind);
    const level = pooled(this.codes, this.rows, this.columns, down, across, this.strength);
    return painted(level.codes, level.rows, level.columns, this.kind);
  }
}

// How many cells must become one, a power of two, for one to be a device pixel at least.
function poolingFor(pixelsPerCell) {
  let factor = 1;
  while (factor * pixelsPerCell < 1 && factor < 4096) factor *= 2;
  return factor;
}
