// The data of the page, and what is said of a case. A case is what a result computed: everything but the backend.

const page = JSON.parse(byId("attn-data").textContent);
page.results.forEach((result, at) => Object.assign(result, { at }));

const MEASURED = page.results.filter((result) => result.ms);
const BACKENDS = [...new Set([...page.results, ...page.growth, ...(page.comparison ? page.comparison.entries : [])].map((one) => one.backend))];

const IS_SQUARE = page.results.every((result) => result.queries === result.keys);

// The parts of a case: name, what it says with the name, and alone in a column.
const PARTS = [
  { name: "batch", title: "batch", value: (one) => one.batch, text: (one) => `batch ${one.batch}`, tip: "B, the batch size" },
  { name: "heads", title: "heads", value: (one) => one.heads + one.kv_heads / 1e6, text: (one) => `heads ${headsText(one)}`, cell: headsText, tip: "Query heads, and key/value heads where they are fewer" },
  { name: "lengths", title: IS_SQUARE ? "length" : "queries × keys", value: (one) => one.queries * one.keys + one.keys / 1e6, text: lengthsText, cell: lengthCell, tip: IS_SQUARE ? "Queries, and as many keys" : "Sq × Sk" },
  { name: "head_dim", title: "D", value: (one) => one.head_dim, text: (one) => `D ${one.head_dim}`, tip: "Features of a head" },
  { name: "dtype", title: "dtype", value: (one) => one.dtype, text: (one) => one.dtype, tip: "Of Q, K and V" },
  { name: "causal", title: "order", value: (one) => one.causal, text: orderText, cell: orderText, tip: "In causal order a query sees no key after its own place" },
  { name: "mode", title: "pass", value: (one) => one.mode, text: (one) => one.mode, tip: "The pass that was timed, and that alone" },
];

function headsText(one) {
  return one.heads === one.kv_heads ? String(one.heads) : `${one.heads}/${one.kv_heads}`;
}

function lengthsText(one) {
  return `${one.queries} × ${one.keys}`;
}

function lengthCell(one) {
  return IS_SQUARE ? wholeNumber(one.keys) : lengthsText(one);
}

function orderText(one) {
  return one.causal ? "causal" : "all keys";
}

function distinct(values) {
  return [...new Set(values)];
}

function grouped(values, key) {
  const groups = new Map();
  for (const value of values) groups.set(key(value), [...(groups.get(key(value)) || []), value]);
  return groups;
}

const VARYING = PARTS.filter((part) => distinct(page.results.map(part.value)).length > 1);
const SAME = PARTS.filter((part) => !VARYING.includes(part));

// What tells a case from the others of the page.
function caseText(one) {
  return (VARYING.length ? VARYING : PARTS).map((part) => part.text(one)).join(", ");
}

function wholeCase(one) {
  return PARTS.map((part) => part.text(one)).join(", ");
}

function isSameCase(one, other) {
  return PARTS.every((part) => part.value(one) === part.value(other)) && one.queries === other.queries;
}

function sameCase(result) {
  return MEASURED.filter((other) => isSameCase(other, result));
}

// Right, and the least time of those that are.
const quickest = new Set();
for (const result of MEASURED) {
  const right = sameCase(result).filter((one) => one.is_quick);
  if (right.length) quickest.add(right.reduce((best, one) => (one.ms.median < best.ms.median ? one : best)));
}

function verdictOf(result) {
  const entries = page.comparison ? page.comparison.entries : [];
  return entries.find((entry) => entry.backend === result.backend && isSameCase(entry, result)) || null;
}

// One colour and one mark for each backend, wherever it is drawn.
function seriesOf(backend) {
  return BACKENDS.indexOf(backend) % 10;
}
