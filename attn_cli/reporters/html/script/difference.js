// One head minus another of the same shape, on the same cells.
//
// `cause` says what a cell that is not exact stands for: "codes" is the difference of two weights in 8 bits; "apart" the
// largest difference in the cell, known from before the weights were pooled; "pools" the largest of one less the largest
// of the other, beside which the cell may hold any difference.

class Difference {
  // `scale` is the difference with the strongest colour; without one it is the largest.
  constructor(first, second, scale = null) {
    const { call, rows, columns, queryPool, keyPool } = first;
    Object.assign(this, { first, second, call, rows, columns, queryPool, keyPool, kind: "difference", place: first.place });
    this.isExact = Boolean(first.exact && second.exact && queryPool * keyPool === 1);
    this.apart = this.isExact ? null : apartOf(first, second);
    this.cause = this.apart ? "apart" : queryPool * keyPool === 1 ? "codes" : "pools";
    const gaps = Float32Array.from(first.cells, (_, i) => this.gap(i));
    this.largest = scale ?? largestGap(gaps);
    this.cells = Uint8Array.from(gaps, (gap, i) => this.coded(this.state(i), gap));
    this.levels = new Levels(this.cells, rows, columns, "difference");
    this.sinkLevels = first.sink && second.sink ? this.sinkDifference() : null;
    this.sinkPool = first.sinkPool;
    this.windows = null;
    this.hasNan = this.cells.includes(NAN_CODE);
  }

  state(i) {
    const [one, other] = [this.first.cells[i], this.second.cells[i]];
    if (one === NAN_CODE || other === NAN_CODE) return "nan";
    return one === MASKED && other === MASKED ? "masked" : "weight";
  }

  // NaN where there is no weight on either side.
  gap(i) {
    if (this.state(i) !== "weight") return NaN;
    if (this.apart) return this.apart.gap(i);
    const [one, other] = [this.first, this.second].map((side) => (side.cells[i] === MASKED ? 0 : this.isExact ? side.exact.values[i] : weightOf(side.cells[i])));
    return one - other;
  }

  coded(state, gap) {
    if (state === "masked") return MASKED;
    return state === "nan" || Number.isNaN(gap) ? NAN_CODE : signedCode(gap / this.largest);
  }

  sinkDifference() {
    const codes = Uint8Array.from(this.first.sink, (code, i) => {
      const other = this.second.sink[i];
      return code === NAN_CODE || other === NAN_CODE ? NAN_CODE : signedCode((weightOf(code) - weightOf(other)) / this.largest);
    });
    return new Levels(codes, codes.length, 1, "difference");
  }

  // Made when they are first drawn: a small picture needs none.
  get patches() {
    this.windows ??= this.isExact ? [] : this.commonWindows();
    return this.windows;
  }

  // Where the windows of both sides overlap, every difference is exact.
  commonWindows() {
    const own = this.first.patches.flatMap((one) => this.second.patches.map((other) => overlap(one, other))).filter(Boolean);
    const held = (one, other) => one !== other && other.query <= one.query && other.key <= one.key && other.query + other.rows >= one.query + one.rows && other.key + other.columns >= one.key + one.columns;
    const isSame = (one, other) => held(one, other) && held(other, one);
    return own.filter((one, at) => !own.some((other, place) => held(one, other) && (!isSame(one, other) || place < at))).map((one) => this.patch(one));
  }

  patch(area) {
    const codes = Uint8Array.from({ length: area.rows * area.columns }, (_, i) => {
      const cell = this.at(area.query + Math.floor(i / area.columns), area.key + (i % area.columns));
      return this.coded(cell.state, cell.weight);
    });
    return { ...area, levels: new Levels(codes, area.rows, area.columns, "difference") };
  }

  // A masked cell gives no weight, so that against a visible one it counts as 0.
  at(row, key) {
    const parts = [this.first.at(row, key), this.second.at(row, key)];
    const states = parts.map((cell) => cell.state);
    const state = states.includes("nan") ? "nan" : states.every((each) => each === "masked") ? "masked" : "weight";
    const [one, other] = parts.map((cell) => (cell.state === "masked" ? 0 : cell.weight));
    const isExact = parts.every((cell) => cell.isExact);
    const cell = { ...parts.find((part) => !part.isExact) || parts[0], state, isExact, logit: null, weight: state === "nan" ? NaN : one - other, parts };
    if (isExact || state === "nan") return cell;
    return key < 0 ? { ...cell, cause: this.sinkPool > 1 ? "pools" : "codes" } : this.pooledAt(row, key, cell);
  }

  // Also where one side is exact: what is said is said of the whole cell.
  pooledAt(row, key, cell) {
    const parts = [this.first, this.second].map((side) => side.pooledAt(row, key));
    const weight = this.gap(Math.floor(row / this.queryPool) * this.columns + Math.floor(key / this.keyPool));
    return { ...cell, parts, rows: parts[0].rows, keys: parts[0].keys, weight: Number.isNaN(weight) ? 0 : weight, cause: this.cause };
  }
}

function overlap(one, other) {
  const [query, key] = [Math.max(one.query, other.query), Math.max(one.key, other.key)];
  const rows = Math.min(one.query + one.rows, other.query + other.rows) - query;
  const columns = Math.min(one.key + one.columns, other.key + other.columns) - key;
  return rows > 0 && columns > 0 ? { query, key, rows, columns } : null;
}

function largestGap(gaps) {
  return gaps.reduce((largest, gap) => (Math.abs(gap) > largest ? Math.abs(gap) : largest), 0) || 1;
}

function signedCode(share) {
  const root = Math.sign(share) * Math.sqrt(Math.min(Math.abs(share), 1));
  return Math.round(127.5 + root * 126.5);
}

function signedShare(code) {
  const root = (code - 127.5) / 126.5;
  return Math.abs(root) < 0.005 ? 0 : Math.sign(root) * root * root;
}

// What a comparison knows of the largest differences in the cells of a head, A − B; the other way round B − A.
function apartOf(first, second) {
  const [left, right] = first.apart ? [first, second] : [second, first];
  if (!left.apart || !page.diff) return null;
  const { place, other } = sidesOf(left.place);
  if (!samePlace(left.place, place) || !samePlace(right.place, other)) return null;
  const most = (left === first ? 1 : -1) * left.call.apart_scale;
  return { gap: (i) => (left.apart[i] === NAN_CODE ? NaN : most * signedShare(left.apart[i])) };
}

function whyNoDifference(first, second) {
  const [a, b] = [first.call, second.call];
  if (a.queries !== b.queries || a.keys !== b.keys) {
    return `No difference: ${a.queries} × ${a.keys} weights on one side, ${b.queries} × ${b.keys} on the other.`;
  }
  return first.queryPool !== second.queryPool || first.keyPool !== second.keyPool ? "No difference: the two pictures are pooled differently." : null;
}
