// The columns of the table: what each sorts by, what it shows, and what that means.

const MARK_OF_STATUS = { ok: "✓", wrong: "✗", failed: "✗", refused: "–", skipped: "–", interrupted: "◌" };
const MEANING_OF_STATUS = {
  ok: "ran, and agrees with float64 where that could be compared", wrong: "its error is beyond what the dtype explains", refused: "cannot run the case", skipped: "the memory would not do",
  failed: "raised an error", interrupted: "was not measured to its end",
};
const GOOD_LOW = "ascending";
const GOOD_HIGH = "descending";

const median = (one) => (one.ms ? one.ms.median : null);

const FIRST_COLUMNS = [
  { name: "backend", title: "backend", isText: true, first: GOOD_LOW, value: (one) => BACKENDS.indexOf(one.backend), cell: backendCell, tip: "What computed attention. Choose one to see its samples." },
  { name: "status", title: "status", isText: true, first: GOOD_LOW, value: (one) => Object.keys(MARK_OF_STATUS).indexOf(one.status), cell: statusCell,
    tip: Object.entries(MEANING_OF_STATUS).map(([status, meaning]) => `${status}: ${meaning}`).join("; ") },
];

const CASE_COLUMNS = VARYING.map((part) => ({ ...part, isText: typeof part.value(page.results[0]) !== "number", first: GOOD_LOW, cell: (one) => (part.cell ? part.cell(one) : String(part.value(one))) }));

const MEASURES = [
  { name: "median", title: "median", first: GOOD_LOW, value: median, cell: medianCell, tip: "The middle one of all timed runs; ★ the least of the right ones on this case" },
  { name: "iqr", title: "IQR", first: GOOD_LOW, value: (one) => (one.ms ? one.ms.iqr : null), by: (one) => (one.ms ? one.ms.iqr / one.ms.median : null), cell: (one) => percent(one.ms.iqr / one.ms.median),
    tip: "The distance between the quartiles of all runs, as a share of the median" },
  { name: "tflops", title: "TFLOP/s", first: GOOD_HIGH, value: (one) => one.tflops, cell: (one) => short(one.tflops), tip: "The FLOPs that the case needs at least, over the median, in 10¹² a second" },
  { name: "bytes_per_s", title: "GB/s", first: GOOD_HIGH, value: (one) => one.bytes_per_s, cell: (one) => short(isNumber(one.bytes_per_s) ? one.bytes_per_s / 1e9 : null), tip: "The bytes that the case must move at least, over the median, in 10⁹ a second" },
  { name: "intensity", title: "FLOP/B", first: GOOD_HIGH, value: (one) => one.intensity, cell: (one) => short(one.intensity), tip: "FLOPs for each byte that must be moved" },
  { name: "share_of_peak", title: "share", first: GOOD_HIGH, value: (one) => one.share_of_peak, cell: shareCell, tip: "Of the measured roofline: of what this device reached in the same run with a large matrix product or a large copy, whichever limits a case of this many FLOPs a byte" },
  { name: "peak_memory_bytes", title: "memory", first: GOOD_LOW, value: (one) => one.peak_memory_bytes, cell: (one) => byteSize(one.peak_memory_bytes), tip: "The most memory beyond the inputs, with the output, taken in a pass of its own" },
  { name: "max_abs_error", title: "error", first: GOOD_LOW, value: (one) => one.max_abs_error, cell: errorCell, tip: "The largest difference from float64 on the same inputs; ✓ within what the dtype explains, ✗ beyond" },
  { name: "first_ms", title: "first", first: GOOD_LOW, value: (one) => one.first_ms, cell: (one) => duration(one.first_ms), tip: "The first run, with what is made or compiled once; it is in no median" },
];

const VERDICTS = ["SLOWER", "UNCLEAR", "SAME", "FASTER"];
const BASELINE = { name: "verdict", title: "baseline", first: GOOD_HIGH, value: (one) => (verdictOf(one) ? verdictOf(one).ratio : null), cell: verdictCell, tip: "Beside the baseline: the verdict, and the new median over the old one" };

const MEASURE_COLUMNS = page.comparison && page.comparison.entries.length ? [...MEASURES, BASELINE] : MEASURES;
const COLUMNS = [...FIRST_COLUMNS, ...CASE_COLUMNS, ...MEASURE_COLUMNS];

function backendCell(one) {
  const text = [glyph(one.backend, one.ms && !one.is_quick), isolated(one.backend)];
  if (!one.ms) return el("span", { class: "backend" }, text);
  return button(text, { class: "backend link", "aria-expanded": "false", "data-open": one.at }, () => update({ open: view.open === one.at ? null : one.at }));
}

function statusCell(one) {
  return [el("span", { class: "sign", "aria-hidden": "true" }, MARK_OF_STATUS[one.status]), " ", el("span", { class: "state" }, one.status)];
}

function medianCell(one) {
  const isBest = quickest.has(one);
  return [isBest && el("span", { class: "star", "aria-hidden": "true" }, "★ "), el("span", { class: isBest ? "best" : null }, duration(one.ms.median)), isBest && el("span", { class: "unseen" }, " the quickest")];
}

function shareCell(one) {
  if (!isNumber(one.share_of_peak)) return UNKNOWN;
  const filled = clamp(one.share_of_peak, 0, 1) * 40;
  const bar = svg("svg", { viewBox: "0 0 40 4", width: 40, height: 4, class: "share-bar", "aria-hidden": "true" }, svg("rect", { width: 40, height: 4, class: "of" }), svg("rect", { width: filled, height: 4, class: "part" }));
  return [bar, percent(one.share_of_peak)];
}

function errorCell(one) {
  const text = errorSize(one.max_abs_error);
  if (one.status === "wrong") return [`${text} `, el("span", { class: "bad" }, "✗")];
  return isNumber(one.max_abs_error) && isNumber(one.tolerance) ? [`${text} `, el("span", { class: "good" }, "✓")] : text;
}

function verdictCell(one) {
  const entry = verdictOf(one);
  return entry ? [verdictChip(entry.verdict), ` ${ratioText(entry.ratio)}`] : UNKNOWN;
}

function verdictChip(verdict) {
  return el("span", { class: "verdict", "data-verdict": verdict }, verdict);
}
