// A result opened: its samples by size and in time, beside the other backends, and all that is known of it.

function detailRow(one) {
  const name = `${one.backend}, ${caseText(one)}`;
  const facts = el("dl", { class: "rows facts" }, factsOf(one).filter((row) => row && row[1]).map(([term, value]) => [el("dt", {}, term), el("dd", {}, value)]));
  const parts = [
    figureOf("Distribution", chart((width) => histogram(one, width)), distributionWords(one)),
    figureOf("In the order they were taken", chart((width) => inTime(one, width)), driftWords(one)),
    sameCase(one).length > 1 && figureOf("Beside the others on this case", chart((width) => boxes(one, width)), "box: quartiles, with the median; line: least to most"),
    figureOf("All that is known", facts, ""),
  ].filter(Boolean);
  const room = el("section", { class: "detail", "aria-label": `Samples of ${name}` }, el("h3", {}, "Samples of ", isolated(one.backend), `, ${wholeCase(one)}`), el("div", { class: "detail-parts" }, parts));
  return el("tr", { id: "detail", "data-detail": one.at }, el("td", { colspan: COLUMNS.length }, room));
}

function figureOf(title, body, caption) {
  return el("figure", {}, el("h4", {}, title), body, caption && el("figcaption", { class: "under" }, caption));
}

function factsOf(one) {
  const { ms } = one;
  const span = ms.count > 1 ? `${duration(ms.quartiles[0])} to ${duration(ms.quartiles[1])}` : null;
  const compared = isNumber(one.max_abs_error) ? `${errorSize(one.max_abs_error)}${isNumber(one.share_of_tolerance) ? `, at most ${percent(one.share_of_tolerance)} of what the dtype explains in a row` : ""}` : "was not compared";
  const rows = one.checked_rows && one.checked_rows < one.queries ? `${one.checked_rows} of ${one.queries} query rows of each head` : null;
  return [
    ["median", el("b", {}, duration(ms.median))], ["quartiles", span], ["least, most", `${duration(ms.min)}, ${duration(ms.max)}`], ["runs", wholeNumber(ms.count)],
    ["first run", isNumber(one.first_ms) ? duration(one.first_ms) : null], ["kernel", one.kernel && isolated(one.kernel)],
    ["rate", isNumber(one.tflops) ? `${perSecond(one.tflops * 1e12, "FLOP/s")}, ${perSecond(one.bytes_per_s, "B/s")}` : null],
    ["of the roofline", isNumber(one.share_of_peak) ? percent(one.share_of_peak) : "unknown"], ["memory", isNumber(one.peak_memory_bytes) ? byteSize(one.peak_memory_bytes) : "unknown"],
    ["error", compared], ["compared", rows], ["yardstick", isNumber(one.yardstick_ms) ? `${duration(one.yardstick_ms)} for a fixed work in the same rounds` : null],
    one.status !== "ok" && ["status", [el("b", {}, one.status), ": ", why(one)]],
  ];
}

function thinnedWords(ms) {
  return ms.every > 1 ? `, one in ${ms.every} of them on this page` : "";
}

function distributionWords(one) {
  const beyond = one.ms.samples.filter((sample) => sample > reachOf(one)[1]).length;
  return `${counted(one.ms.count, "run")}${thinnedWords(one.ms)}; shaded: between the quartiles${beyond ? `; ▸ ${counted(beyond, "run")} beyond the right end` : ""}`;
}

// Backends take turns, so that a drift strikes all of a case alike.
function driftWords(one) {
  const { samples } = one.ms;
  const third = Math.floor(samples.length / 3);
  if (third < 3) return "too few runs to tell a drift";
  const [early, late] = [samples.slice(0, third), samples.slice(-third)].map(middleOf);
  const change = late / early - 1;
  return `first third ${duration(early)}, last third ${duration(late)} (${change < 0 ? "−" : "+"}${percent(Math.abs(change))}); dashed: the median`;
}

function middleOf(samples) {
  const ordered = [...samples].sort((a, b) => a - b);
  const half = ordered.length / 2;
  return ordered.length % 2 ? ordered[Math.floor(half)] : (ordered[half - 1] + ordered[half]) / 2;
}
