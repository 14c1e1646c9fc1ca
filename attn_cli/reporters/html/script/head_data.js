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
    this.cells = Uint8Array.from(this.exact, codeOf);
    Object.assign(this, { rows: queries, columns: keys, queryPool: 1, keyPool: 1 });
  }

  code(row, key) {
    return this.cells[Math.floor(row / this.queryPool) * this.columns + Math.floor(key / this.keyPool)];
  }

  at(row, key) {
    if (key < 0) return this.sinkAt(row);
    if (this.exact) return this.exactly(row, key, this.exact[row * this.call.keys + key], this.lse ? this.lse[row] : null);
    const patch = this.patches.find((one) => one.holds(row, key));
    if (patch) return this.exactly(row, key, patch.weight(row, key), patch.lse ? patch.lse[row - patch.query] : null);
    return this.pooledAt(row, key);
  }

  exactly(row, key, weight, lse) {
    const cell = { isExact: true, rows: [row, row + 1], keys: [key, key + 1], weight: Math.abs(weight), logit: null };
    cell.state = stateOf(weight);
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
      state: code === MASKED ? "masked" : code === NAN_CODE ? "nan" : "weight",
      weight: code === MASKED ? 0 : code === NAN_CODE ? NaN : weightOf(code),
      logit: null,
    };
  }

  sinkAt(row) {
    const first = row - (row % this.sinkPool);
    const patch = this.patches.find((one) => one.sink && row >= one.query && row < one.query + one.rows);
    const exact = this.sink_exact ? this.sink_exact[row] : patch ? patch.sink[row - patch.query] : null;
    if (exact !== null) return { ...this.exactly(row, 0, exact, null), keys: [-1, 0] };
    const code = this.sink ? this.sink[Math.floor(row / this.sinkPool)] : MASKED;
    const rows = [first, Math.min(first + this.sinkPool, this.call.queries)];
    return { isExact: false, rows, keys: [-1, 0], state: code === NAN_CODE ? "nan" : code === MASKED ? "masked" : "weight", weight: weightOf(code), logit: null };
  }

  // The weights of one row in steps of `step` keys, exact where the page has all of them.
  row(row) {
    const whole = this.exact ? null : this.patches.find((one) => one.columns === this.call.keys && one.holds(row, 0));
    if (this.exact || whole) {
      const values = this.exact ? this.exact.subarray(row * this.call.keys, (row + 1) * this.call.keys) : whole.values(row);
      return { values: Array.from(values, (weight) => (weight === 0 && isHidden(weight) ? -1 : Math.abs(weight))), step: 1, isExact: true };
    }
    const from = Math.floor(row / this.queryPool) * this.columns;
    const codes = this.cells.subarray(from, from + this.columns);
    const isExact = false;
    return { values: Array.from(codes, (code) => (code === MASKED ? -1 : code === NAN_CODE ? NaN : weightOf(code))), step: this.keyPool, isExact };
  }
}

// A window in which every weight is known.
class Patch {
  constructor(one) {
    Object.assign(this, one);
    const codes = Uint8Array.from(this.weights, codeOf);
    this.levels = new Levels(codes, this.rows, this.columns, "weights");
  }

  holds(row, key) {
    return row >= this.query && row < this.query + this.rows && key >= this.key && key < this.key + this.columns;
  }

  weight(row, key) {
    return this.weights[(row - this.query) * this.columns + key - this.key];
  }

  values(row) {
    return this.weights.subarray((row - this.query) * this.columns, (row - this.query + 1) * this.columns);
  }
}

function stateOf(weight) {
  if (Number.isNaN(weight)) return "nan";
  return isHidden(weight) ? "masked" : "weight";
}

async function unpackedWindow(one) {
  const [weights, lse, sink] = await Promise.all([weightsOf(one.weights), floatsOf(one.lse), floatsOf(one.sink)]);
  return { query: one.query, key: one.key, rows: one.rows, columns: one.columns, weights, lse, sink };
}

const unpackedHead = remembered(80, async (key, place) => {
  const head = headAt(place);
  const [cells, sink, exact, lse, sinkExact, windows] = await Promise.all([
    bytesOf(head.cells), head.sink ? bytesOf(head.sink) : null, weightsOf(head.exact), floatsOf(head.lse), floatsOf(head.sink_exact),
    Promise.all((head.windows || []).map(unpackedWindow)),
  ]);
  return new HeadData(place, { cells, sink, exact, lse, sink_exact: sinkExact, windows });
});

function headData(place) {
  return unpackedHead(`${place.call} ${place.batch} ${place.head}`, place);
}
