// What was run, and what was found.

function fillHeader() {
  if (page.check || page.diff) return fillVerdictHeader();
  const call = page.calls[0];
  const { requested, ran, kernel } = call.backend;
  const backend = requested === ran ? ran : `${requested} → ${ran}`;
  const size = page.calls.length > 1 ? counted(page.calls.length, "call") : null;
  const said = [page.title.includes(call.source) ? null : call.source, size, call.selected, counted(call.head_numbers.length, "head"), `${wholeNumber(call.queries)} × ${wholeNumber(call.keys)} weights`,
    call.device, call.dtype, kernel && kernel !== ran ? `${backend} (${kernel})` : backend];
  byId("subtitle").replaceChildren(...said.filter(Boolean).flatMap((part, at) => [at ? " · " : "", isolated(part)]));
  byId("foot").replaceChildren(`${page.note} `, el("span", {}, `attn ${page.version}`));
}

function summarySection() {
  const select = page.calls.length > 1 && choice("run-call", "call", page.calls.map((call, at) => option(at, call.name, at === 0)), (value) => fill(Number(value)));
  const body = el("div", { class: "run-body" });
  const fill = (number) => body.replaceChildren(...runDetails(page.calls[number]));
  fill(0);
  const holds = page.calls.every((call) => !call.verification || call.verification.holds);
  const against = [...new Set(page.calls.map((call) => call.verification && call.verification.against).filter(Boolean))].join(", ");
  const title = el("summary", {}, el("h2", {}, "What was run"), el("span", { class: holds ? "good" : "bad" }, holds ? `✓ weights × V agree with the output of ${against}` : "✗ weights and kernel disagree"));
  return el("details", { id: "run", class: "card" }, title, select, body);
}

function runDetails(call) {
  const blocks = [
    block("Read as", rows(call.conventions.map((one) => [one.name, [isolated(one.value), el("span", { class: "muted" }, ` ${one.origin}`)]])), "conventions"),
    block("Shapes by step", rows(call.shapes.map((one) => [one.step, el("code", {}, `(${one.shape.join(", ")})`)])), "shapes"),
    block("Timing", rows(call.timing.map((one) => [one.name, one.text])), "timing"),
    block("Kernel", rows(kernelRows(call)), "kernel"),
    (call.notes || []).length > 0 && block("Notes", call.notes.map((note) => el("p", {}, isolated(note))), "notes"),
    (call.unused || []).length > 0 && block("Not used", el("p", {}, call.unused.flatMap((name, at) => [at ? ", " : "", isolated(name)])), "unused"),
  ];
  return blocks.filter(Boolean);
}

function kernelRows(call) {
  const { requested, ran, kernel } = call.backend;
  const check = call.verification;
  return [["asked for", requested], ["ran", ran], ["kernel", kernel], ["device", call.device], ["dtype", call.dtype],
    check && ["check", el("span", { class: check.holds ? "good" : "bad" }, `${check.holds ? "✓" : "✗"} ${check.text}`)]].filter((row) => row && row[1]);
}

function block(title, body, name) {
  return el("div", { class: "block", "data-block": name }, el("h3", {}, title), body);
}

function rows(pairs) {
  return el("dl", { class: "rows" }, pairs.map(([name, value]) => [el("dt", {}, isolated(name)), el("dd", {}, value)]));
}

function findingsSection() {
  const findings = page.findings;
  const worst = ["error", "warning", "info"].find((severity) => findings.some((one) => one.severity === severity));
  if (!worst) return el("p", { id: "findings", class: "quiet" }, "No findings.");
  const counts = ["error", "warning", "info"].map((severity) => [severity, findings.filter((one) => one.severity === severity).length]);
  const chips = counts.filter(([, count]) => count).map(([severity, count]) => el("span", { class: "severity", "data-severity": severity }, severity === "info" ? `${count} info` : counted(count, severity)));
  return el("details", { id: "findings", class: "card", open: worst !== "info" }, el("summary", {}, el("h2", {}, "Findings"), chips),
    el("ul", { class: "findings" }, findings.map(findingItem)),
    page.findings_left_out > 0 && el("p", { class: "muted" }, `${counted(page.findings_left_out, "finding")} more ${page.findings_left_out === 1 ? "is" : "are"} not listed.`));
}

function findingItem(finding) {
  const place = findingPlace(finding);
  const where = placeWords(finding);
  const target = !where ? null : place ? button(isolated(where), { class: "link" }, () => openFinding(finding, place)) : el("span", { class: "muted" }, isolated(where));
  return el("li", { "data-code": finding.code }, el("span", { class: "severity", "data-severity": finding.severity }, finding.severity),
    el("div", {}, el("p", {}, isolated(finding.message), " ", target), finding.hint && el("p", { class: "muted" }, isolated(finding.hint)), ruleOf(finding)));
}

function placeWords(finding) {
  const parts = ["layer", "tensor", "batch", "head", "query", "key", "feature"].filter((name) => isKnown(finding[name]));
  const more = finding.count > 1 ? ` (${wholeNumber(finding.count)} places)` : "";
  return [fileOf(finding), ...parts.map((name) => `${name} ${finding[name]}`)].filter(Boolean).join(", ") + more;
}

function isKnown(value) {
  return value !== null && value !== undefined;
}

// The head that a finding names; the first where it names a query or a key of all heads.
function findingPlace(finding) {
  if (!["batch", "head", "query", "key"].some((name) => isKnown(finding[name]))) return null;
  const number = finding.call ?? page.calls.findIndex((call) => call.layer === finding.layer);
  const call = page.calls[number];
  if (!call) return null;
  const head = isKnown(finding.head) ? call.head_numbers.indexOf(queryHead(finding, call)) : 0;
  const place = { call: number, batch: Math.max(0, call.batch.indexOf(finding.batch ?? call.batch[0])), head };
  return headAt(place) ? place : null;
}

// K and V have a head for each group of query heads; the first of the group reads it.
function queryHead(finding, call) {
  return ["k", "v"].includes((finding.tensor || "").split(".").pop()) ? finding.head * (call.groups || 1) : finding.head;
}

function openFinding(finding, place) {
  const call = callAt(place);
  const row = isKnown(finding.query) ? rowOfNumber(call, finding.query) : isKnown(finding.key) && call.queries_are_keys ? rowOfPlace(call, finding.key) : -1;
  const own = call.queries_are_keys && row >= 0 ? placeOfRow(call, row) : 0;
  const cursor = row >= 0 || isKnown(finding.key) ? { row: Math.max(0, row), key: finding.key ?? own ?? 0 } : cursorAt(place);
  openHead(place, cursor);
}

function worthSection() {
  const known = page.worth.map((one) => [one, { call: one.call ?? 0, batch: one.batch ?? 0, head: one.head ?? 0 }]).filter(([, place]) => headAt(place));
  if (!known.length) return null;
  return el("section", { id: "worth", "aria-label": "Worth looking at" }, el("h2", {}, "Worth looking at"),
    el("ul", { class: "worth" }, known.map(([one, place]) => el("li", {}, worthButton(one, place)))));
}

function worthButton(one, place) {
  return el("button", { type: "button", onclick: () => openHead(place, cursorAt(place)) },
    el("span", { class: "where" }, placeName(place)), isolated(one.why));
}
