// Where it was measured: what decides how long attention takes, what the device reached, and what the figures mean.

const KINDS = [
  ["Machine", ["device", "device_name", "platform", "clock_mhz", "max_clock_mhz", "power_limit_watts", "governor", "driver", "cuda", "cudnn"]],
  ["Versions", ["torch", "attn", "python", "triton"]],
  ["Settings", null],
];

function fillHeader() {
  const known = new Map(page.environment.map((one) => [one.key, one.text]));
  const wanted = [["device"], ["torch", "PyTorch "], known.get("device") === "cpu" && ["threads", "", known.get("threads") === "1" ? " thread" : " threads"]].filter(Boolean);
  const parts = wanted.filter(([key]) => known.has(key)).map(([key, before = "", after = ""]) => `${before}${known.get(key)}${after}`);
  parts.push(...distinct(page.results.map((one) => `${one.dtype} ${one.mode}`)), counted(page.results.length, "result"));
  byId("subtitle").replaceChildren(...parts.flatMap((part, at) => [at ? " · " : "", isolated(part)]));
  const peaks = Object.entries(page.peaks.flops_per_s).map(([dtype, value]) => `${dtype} ${perSecond(value, "FLOP/s")}`);
  if (isNumber(page.peaks.bytes_per_s)) peaks.push(`copy ${perSecond(page.peaks.bytes_per_s, "B/s")}`);
  if (peaks.length) byId("peaks").replaceChildren("measured peaks: ", ...peaks.flatMap((peak, at) => [at ? " · " : "", isolated(peak)]));
  const thinned = MEASURED.some((one) => one.ms.every > 1);
  const samples = MEASURED.length === 0 ? "" : thinned ? "Not all samples are in this page, to keep it small; medians, quartiles, the least and the most are those of all of them. " : "Every sample is in this page. ";
  byId("foot").replaceChildren(`${samples}The numbers are those of attn bench --json. `, el("span", {}, `attn ${page.version}`));
}

function buildMachine() {
  const taken = new Set(KINDS.flatMap(([, keys]) => keys || []));
  const blocks = KINDS.map(([title, keys]) => {
    const mine = page.environment.filter((one) => (keys ? keys.includes(one.key) : !taken.has(one.key)));
    return mine.length > 0 && factBlock(title, mine.map((one) => [isolated(one.name), isolated(one.text), one.key]));
  });
  const peaks = Object.entries(page.peaks.flops_per_s).map(([dtype, value]) => [isolated(dtype), perSecond(value, "FLOP/s"), dtype]);
  const copy = isNumber(page.peaks.bytes_per_s) ? perSecond(page.peaks.bytes_per_s, "B/s") : "unknown";
  blocks.push(factBlock("Measured peaks", [...peaks, ["copy", copy, "copy"]], "in the same run: a large matrix product for each dtype, a large copy"));
  byId("machine").setAttribute("aria-labelledby", "machine-title");
  byId("machine").append(el("h2", { id: "machine-title" }, "Where it was measured"), el("div", { class: "card run-body" }, blocks), meanings());
}

function factBlock(title, pairs, words) {
  return el("div", { class: "block", "data-block": title }, el("h3", {}, title), el("dl", { class: "rows" }, pairs.map(([name, value, key]) => [el("dt", {}, name), el("dd", { "data-key": key }, value)])), words && el("p", { class: "under" }, words));
}

function meanings() {
  const columns = COLUMNS.filter((column) => column.tip).map((column) => [el("dt", {}, column.title), el("dd", {}, column.tip)]);
  const formulas = Object.entries(page.formulas).flatMap(([mode, one]) => [[el("dt", {}, `FLOPs, ${mode}`), el("dd", {}, one.flops)], [el("dt", {}, `bytes, ${mode}`), el("dd", {}, one.bytes)]]);
  return el("details", { id: "meanings", class: "card" }, el("summary", {}, el("h2", {}, "What the columns mean")), el("dl", { class: "rows meanings" }, columns, formulas));
}

function buildDoubts() {
  const room = byId("doubts");
  if (page.interrupted) room.append(el("p", { class: "trouble", id: "interrupted" }, "The run was interrupted: this is what was measured until then."));
  if (!page.warnings.length) return;
  const chip = el("span", { class: "severity", "data-severity": "warning" }, counted(page.warnings.length, "warning"));
  const items = page.warnings.map((one) => el("li", {}, el("span", { class: "severity", "data-severity": "warning" }, "warning"), el("div", {}, el("p", {}, isolated(one.message)), el("p", { class: "muted" }, isolated(one.remedy)))));
  room.append(el("details", { id: "warnings", class: "card", open: true }, el("summary", {}, el("h2", {}, "Warnings"), chip), el("ul", { class: "findings" }, items)));
}
