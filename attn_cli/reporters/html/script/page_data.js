const page = JSON.parse(byId("attn-data").textContent);
const headsOfCall = new Map(page.calls.map((call) => [call, new Map(call.heads.map((head) => [`${head.batch} ${head.head}`, head]))]));
const SHORT_NAMES = {
  entropy_normalized: "entropy, share of the largest", effective_span: "effective span", attention_distance: "distance",
  output_norm: "‖AV‖", output_norm_relative: "‖AV‖, relative", projected_norm: "‖AVW‖", projected_norm_relative: "‖AVW‖, relative",
};

function callAt(place) {
  return page.calls[place.call];
}

function headAt(place) {
  const call = callAt(place);
  return call ? headsOfCall.get(call).get(`${place.batch} ${place.head}`) || null : null;
}

// Where query heads share key/value heads: the one that a head reads. Unknown where heads were left out.
function keyValueHead(place) {
  const call = callAt(place);
  if (call.groups) return call.groups > 1 ? Math.floor(call.head_numbers[place.head] / call.groups) : null;
  const heads = (step) => (call.shapes.find((one) => one.step === step) || { shape: [] }).shape[1];
  const [own, shared] = [heads("Q"), heads("K")];
  if (!(shared < own) || own !== call.head_numbers.length) return null;
  return Math.floor(call.head_numbers[place.head] / (own / shared));
}

function samePlace(one, other) {
  return Boolean(one && other) && one.call === other.call && one.batch === other.batch && one.head === other.head;
}

function metricName(name) {
  return SHORT_NAMES[name] || name.replaceAll("_", " ");
}

function batchName(call, batch) {
  return `batch ${call.batch[batch]}`;
}

function placeName(place) {
  const call = callAt(place);
  const batch = call.batch.length > 1 ? ` · ${batchName(call, place.batch)}` : "";
  const name = page.calls.length > 1 ? `${call.name} · ` : "";
  return `${name}head ${call.head_numbers[place.head]}${batch}`;
}

function shortName(place) {
  const call = callAt(place);
  const mark = page.calls.length === 1 ? "" : callMark(place.call);
  return `${mark} H${call.head_numbers[place.head]}`.trim();
}

function callMark(number) {
  const call = page.calls[number];
  if (call.mark !== undefined) return call.mark;
  if (call.layer === null || call.layer === undefined) return call.name;
  const isAlone = page.calls.filter((other) => other.layer === call.layer).length === 1;
  return isAlone ? `L${call.layer}` : `L${call.layer}·${call.step}`;
}

function queryNumber(call, row) {
  return call.query_numbers ? call.query_numbers[row] : row;
}

function rowOfNumber(call, number) {
  return call.query_numbers ? call.query_numbers.indexOf(number) : number;
}

function placeOfRow(call, row) {
  if (call.places === null || call.places === undefined) return null;
  return typeof call.places === "number" ? queryNumber(call, row) + call.places : call.places[row];
}

// The texts of a call's keys; steps of a generation share one list, of which each has the beginning.
function tokensOf(call, batch) {
  const number = call.tokens ? call.tokens[batch] : null;
  return number === null || number === undefined ? null : page.tokens[number];
}

function keyToken(call, batch, key) {
  const tokens = tokensOf(call, batch);
  return tokens && key >= 0 && key < Math.min(tokens.length, call.keys) ? tokens[key] : null;
}

function queryToken(call, batch, row) {
  if (!call.queries_are_keys) return null;
  const place = placeOfRow(call, row);
  return place === null ? null : keyToken(call, batch, place);
}

function rowOfPlace(call, place) {
  if (typeof call.places === "number") return inside(rowOfNumber(call, place - call.places), call.queries);
  return call.places ? call.places.indexOf(place) : -1;
}

function inside(row, count) {
  return row >= 0 && row < count ? row : -1;
}

// Smallest and largest value of a metric over every head in the page: what its colours and bars are measured by.
const metricRanges = page.metrics.map((_, at) => {
  const known = page.calls.flatMap((call) => call.heads.map((head) => head.metrics[at])).filter((value) => Number.isFinite(value));
  return known.length ? { low: known.reduce((a, b) => Math.min(a, b)), high: known.reduce((a, b) => Math.max(a, b)) } : null;
});

function metricShare(at, value) {
  const range = metricRanges[at];
  if (!range || !Number.isFinite(value)) return null;
  return range.high > range.low ? (value - range.low) / (range.high - range.low) : 0.5;
}

function metricIndex(name) {
  return page.metrics.findIndex((metric) => metric.name === name);
}
