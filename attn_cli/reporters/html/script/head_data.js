// One head with its numbers unpacked. Rows are positions among the inspected queries; key −1 is the sink's column.

class HeadData {
  constructor(place, parts) {
    const call = callAt(place);
    Object.assign(this, { place, call, head: headAt(place), ...parts });
    const { rows, columns, query_pool: queryPool, key_pool: keyPool } = call.picture;
    Object.assign(this, { rows, columns, queryPool, keyPool, kind: "weights" });
    if (this.exact) this.drawExact();
    this.levels = new Levels(this.cells, this.rows, this.columns, "weights");
    this.sinkLevels = this.sink ? new Levels(this.sink, this.sink.length, 1, "weights") : null;
    this.sinkPool = queryPool;
    this.patches = this.windows.map((one) => new Patch(one));
    this.hasNan = this.cells.includes(NAN_CODE);
  }

  // Where every weight is known and the picture is coarser, the weights make the picture.
  drawExact() {
    const { queries, keys } = this.call;
    if (this.queryPool * this.keyPool === 1) return;
    this.cells = codesOf(this.exact);
    Object.assign(this, { rows: queries, columns: keys, queryPool: 1, keyPool: 1 });
  }

  // Its numbers stay; what was painted of them takes four times their room.
  forget() {
    for (const levels of [this.levels, this.sinkLevels, ...this.patches.map((one) => one.levels)]) if (levels) levels.forget();
  }

  code(row, key) {
    return this.cells[Math.floor(row / this.queryPool) * this.columns + Math.floor(key / this.keyPool)];
  }

  at(row, key) {
    if (key < 0) return this.sinkAt(row);
    if (this.exact) return this.exactly(row, key, this.exact, row * this.call.keys + key, this.lse ? this.lse[row] : null);
    const patch = this.patches.find((one) => one.holds(row, key));
    if (patch) return this.exactly(row, key, patch.weights, patch.place(row, key), patch.lse ? patch.lse[row - patch.query] : null);
    return this.listedAt(row, key) || this.pooledAt(row, key);
  }

  // A strongest pair's weight is known wherever it lies.
  listedAt(row, key) {
    const pair = this.head.top.find(([itsRow, itsKey]) => itsRow === row && itsKey === key);
    return pair ? this.exactly(row, key, { values: [pair[2]], hidden: [0] }, 0, null) : null;
  }

  exactly(row, key, { values, hidden }, at, lse) {
    const weight = values[at];
    const cell = { isExact: true, rows: [row, row + 1], keys: [key, key + 1], weight, logit: null };
    cell.state = hidden[at] ? "masked" : Number.isNaN(weight) ? "nan" : "weight";
    if (cell.state === "weight" && lse !== null) cell.logit = Math.log(weight) + lse;
    return cell;
  }

  pooledAt(row, key) {
    const [first, firstKey] = [row - (row % this.queryPool), key - (key % this.keyPool)];
    const code = this.code(row, key);
    return {
      isExact: false,
      rows: [first, Math.min(first + this.queryPool, this.call.queries)],
      keys: [firstKey, Math.min(firstKey + this.keyPool, this.call.keys)],
      ...told(code),
      logit: null,
    };
  }

  sinkAt(row) {
    const first = row - (row % this.sinkPool);
    const patch = this.patches.find((one) => one.sink && row >= one.query && row < one.query + one.rows);
    const exact = this.sink_exact ? this.sink_exact[row] : patch ? patch.sink[row - patch.query] : null;
    if (exact !== null) return { ...this.exactly(row, 0, { values: [exact], hidden: [0] }, 0, null), keys: [-1, 0] };
    const code = this.sink ? this.sink[Math.floor(row / this.sinkPool)] : MASKED;
    const rows = [first, Math.min(first + this.sinkPool, this.call.queries)];
    return { isExact: false, rows, keys: [-1, 0], ...told(code), logit: null };
  }

  // The weights of one row in steps of `step` keys; exact where the page has all of them, else each the largest of
  // `rows` and so many keys.
  row(row) {
    const { keys, queries } = this.call;
    const whole = this.exact ? null : this.patches.find((one) => one.columns === keys && one.holds(row, 0));
    if (this.exact || whole) {
      const [weights, from] = this.exact ? [this.exact, row * keys] : [whole.weights, whole.place(row, 0)];
      const values = Array.from(weights.values.subarray(from, from + keys), (weight, at) => (weights.hidden[from + at] ? HIDDEN : weight));
      return { values, step: 1, rows: [row, row + 1], isExact: true };
    }
    const first = row - (row % this.queryPool);
    const from = (first / this.queryPool) * this.columns;
    const values = Array.from(this.cells.subarray(from, from + this.columns), (code) => (code === MASKED ? HIDDEN : told(code).weight));
    return { values, step: this.keyPool, rows: [first, Math.min(first + this.queryPool, queries)], isExact: false };
  }
}

const HIDDEN = -Infinity; // stands among a row's weights for a masked key

function told(code) {
  if (code === MASKED) return { state: "masked", weight: 0 };
  return code === NAN_CODE ? { state: "nan", weight: NaN } : { state: "weight", weight: weightOf(code) };
}

// A window in which every weight is known.
class Patch {
  constructor(one) {
    Object.assign(this, one);
    this.levels = new Levels(codesOf(this.weights), this.rows, this.columns, "weights");
  }

  holds(row, key) {
    return row >= this.query && row < this.query + this.rows && key >= this.key && key < this.key + this.columns;
  }

  place(row, key) {
    return (row - this.query) * this.columns + key - this.key;
  }
}

async function unpackedWindow(one) {
  const [weights, lse, sink] = await Promise.all([weightsOf(one.weights, one.hidden), floatsOf(one.lse), floatsOf(one.sink)]);
  return { query: one.query, key: one.key, rows: one.rows, columns: one.columns, weights, lse, sink };
}

const unpackedHead = remembered(48, async (key, place) => {
  const head = headAt(place);
  const [cells, sink, exact, lse, sinkExact, apart, windows] = await Promise.all([
    bytesOf(head.cells), head.sink ? bytesOf(head.sink) : null, weightsOf(head.exact, head.exact_hidden), floatsOf(head.lse), floatsOf(head.sink_exact),
    head.apart ? bytesOf(head.apart) : null, Promise.all((head.windows || []).map(unpackedWindow)),
  ]);
  return new HeadData(place, { cells, sink, exact, lse, sink_exact: sinkExact, apart, windows });
});

function headData(place) {
  return unpackedHead(`${place.call} ${place.batch} ${place.head}`, place);
}
