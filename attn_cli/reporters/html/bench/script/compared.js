// The run beside its baseline: each verdict with the ratio of the medians and its interval, drawn around 1.

const FOREST = 190;

function buildCompared() {
  const compared = page.comparison;
  if (!compared) return;
  const room = byId("compared");
  room.hidden = false;
  room.setAttribute("aria-labelledby", "compared-title");
  const counts = VERDICTS.map((verdict) => [verdict, compared.entries.filter((entry) => entry.verdict === verdict).length]).filter(([, count]) => count);
  const chips = counts.map(([verdict, count]) => el("span", { class: "verdict", "data-verdict": verdict }, `${count} ${verdict}`));
  if (compared.lost.length) chips.push(el("span", { class: "verdict", "data-verdict": "LOST" }, `${compared.lost.length} lost`));
  room.append(el("div", { class: "tools" }, el("h2", { id: "compared-title" }, "Beside the baseline"), chips),
    el("p", { class: "quiet" }, "The baseline is ", isolated(compared.file), ". Ratio: new median over old, with its 99 % confidence interval, drawn around 1; shaded: the margin, which still counts as the same.",
      compared.entries.some((entry) => isNumber(entry.yardstick_ratio)) && " Machine: what a fixed work took, new over old; where that explains a difference, the ratio leaves it out."),
    compared.entries.length ? comparedTable(compared.entries) : el("p", {}, compared.lost.length ? "" : "No result is in both."), lostAndNotes(compared));
}

function comparedTable(entries) {
  const hasMachine = entries.some((entry) => isNumber(entry.yardstick_ratio));
  const ends = entries.flatMap((entry) => [entry.low, entry.high, 1 - entry.margin / 2, 1 + entry.margin]);
  const reach = Math.max(...ends.filter((one) => one > 0).map((one) => Math.abs(Math.log(one)))) * 1.08;
  const x = linearScale([-reach, reach], [4, FOREST - 4]);
  const titles = ["backend", "case", "verdict", "ratio", "99 % interval", "", "margin", ...(hasMachine ? ["machine"] : [])];
  const header = titles.map((title, at) => el("th", { scope: "col", class: at < 3 || !title ? "text" : null }, title || el("span", { class: "forest-head" }, el("span", {}, "faster"), el("span", {}, "slower"))));
  return el("div", { class: "wide", role: "region", "aria-labelledby": "compared-title", tabindex: "0" },
    el("table", { class: "numbers" }, el("thead", {}, el("tr", {}, header)), el("tbody", {}, entries.map((entry) => comparedRow(entry, x, hasMachine)))));
}

function comparedRow(entry, x, hasMachine) {
  return el("tr", { "data-verdict": entry.verdict, "data-backend": entry.backend },
    el("th", { scope: "row", class: "text" }, glyph(entry.backend), isolated(entry.backend)), el("td", { class: "text" }, caseText(entry)), el("td", { class: "text" }, verdictChip(entry.verdict)),
    el("td", { "data-value": String(entry.ratio) }, el("b", {}, ratioText(entry.ratio))), el("td", {}, `${ratioText(entry.low)} – ${ratioText(entry.high)}`), el("td", { class: "text" }, forest(entry, x)), el("td", {}, `±${percent(entry.margin)}`),
    hasMachine && el("td", {}, ratioText(entry.yardstick_ratio)));
}

function forest(entry, x) {
  const at = (ratio) => clamp(x(Math.log(ratio)), 1, FOREST - 1);
  const [left, right] = [at(1 / (1 + entry.margin)), at(1 + entry.margin)];
  return svg("svg", { viewBox: `0 0 ${FOREST} 20`, width: FOREST, height: 20, class: "forest", "aria-hidden": "true" },
    svg("rect", { x: left, y: 1, width: right - left, height: 18, class: "margin" }), line(x(0), 0, x(0), 20, "axis"),
    line(at(entry.low), 10, at(entry.high), 10, `interval ${entry.verdict}`), svg("circle", { cx: at(entry.ratio), cy: 10, r: 4, class: `ratio ${entry.verdict}` }));
}

function lostAndNotes(compared) {
  const lost = compared.lost.map((one) => el("li", {}, el("b", { class: "bad" }, isolated(one.backend)), ` was right in the baseline and is ${one.status} now (${caseText(one)}): `, why(one)));
  const notes = compared.notes.map((note) => el("li", {}, isolated(note)));
  if (compared.missing) notes.push(el("li", {}, `${counted(compared.missing, "result")} in only one of the two`));
  return lost.length + notes.length > 0 && el("ul", { class: "notes" }, lost, notes);
}
