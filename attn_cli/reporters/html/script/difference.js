// One head minus another of the same shape, on the same cells.

class Difference {
  constructor(first, second) {
    const { call, rows, columns, queryPool, keyPool } = first;
    Object.assign(this, { first, second, call, rows, columns, queryPool, keyPool, kind: "difference", patches: [], place: first.place });
    const exact = first.exact && second.exact && queryPool * keyPool === 1;
    const own = exact ? first.exact.map(Math.abs) : Float32Array.from(first.cells, weightOf);
    const other = exact ? second.exact.map(Math.abs) : Float32Array.from(second.cells, weightOf);
    this.largest = this.largestOf(own, other);
    this.cells = Uint8Array.from(own, (weight, i) => this.coded(i, this.plain(weight, 0, i) - this.plain(other[i], 1, i)));
    this.levels = new Levels(this.cells, rows, columns, "difference");
    this.sinkLevels = first.sink && second.sink ? this.sinkDifference() : null;
    this.sinkPool = first.sinkPool;
    this.hasNan = this.cells.includes(NAN_CODE);
  }

  state(i) {
    const [one, other] = [this.first.cells[i], this.second.cells[i]];
    if (one === NAN_CODE || other === NAN_CODE) return "nan";
    return one === MASKED && other === MASKED ? "masked" : "weight";
  }

  largestOf(own, other) {
    let largest = 0;
    for (let i = 0; i < own.length; i++) {
      if (this.state(i) === "weight") largest = Math.max(largest, Math.abs(this.plain(own[i], 0, i) - this.plain(other[i], 1, i)));
    }
    return largest || 1;
  }

  // A masked cell gives no weight, so that against a visible one it counts as 0.
  plain(weight, which, i) {
    const codes = which === 0 ? this.first.cells : this.second.cells;
    return codes[i] === MASKED ? 0 : weight;
  }

  coded(i, difference) {
    const state = this.state(i);
    if (state !== "weight") return state === "nan" ? NAN_CODE : MASKED;
    return signedCode(difference / this.largest);
  }

  sinkDifference() {
    const codes = Uint8Array.from(this.first.sink, (code, i) => {
      const other = this.second.sink[i];
      return code === NAN_CODE || other === NAN_CODE ? NAN_CODE : signedCode((weightOf(code) - weightOf(other)) / this.largest);
    });
    return new Levels(codes, codes.length, 1, "difference");
  }

  at(row, key) {
    const [one, other] = [this.first.at(row, key), this.second.at(row, key)];
    const states = [one.state, other.state];
    const state = states.includes("nan") ? "nan" : states.every((each) => each === "masked") ? "masked" : "weight";
    const isExact = one.isExact && other.isExact;
    return { ...one, state, isExact, logit: null, weight: (one.weight || 0) - (other.weight || 0), parts: [one, other] };
  }
}

function signedCode(share) {
  const root = Math.sign(share) * Math.sqrt(Math.min(Math.abs(share), 1));
  return Math.round(127.5 + root * 126.5);
}

function whyNoDifference(first, second) {
  const [a, b] = [first.call, second.call];
  if (a.queries !== b.queries || a.keys !== b.keys) {
    return `No difference: ${a.queries} × ${a.keys} weights on one side, ${b.queries} × ${b.keys} on the other.`;
  }
  return first.queryPool !== second.queryPool || first.keyPool !== second.keyPool ? "No difference: the two pictures are pooled differently." : null;
}
