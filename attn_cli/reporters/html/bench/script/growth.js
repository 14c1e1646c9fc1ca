// How time and memory grow with the length, each backend a series with its fitted power of the length.

const QUANTITIES = [
  { name: "time", values: "median_ms", exponent: "time_exponent", text: duration, base: 10 },
  { name: "memory", values: "memory_bytes", exponent: "memory_exponent", text: byteSize, base: 4 },
];

function pointsOf(series, what) {
  return series.lengths.map((length, at) => [length, series[what.values][at]]).filter(([, value]) => value > 0);
}

function refreshGrowth() {
  const room = byId("growth");
  forget(room);
  room.setAttribute("aria-labelledby", "growth-title");
  const groups = grouped(shownGrowth(), (one) => one.settings.join(", "));
  room.hidden = !page.growth.length;
  const none = !groups.size && el("p", { class: "quiet" }, "None of the series is among what is chosen.");
  room.replaceChildren(el("h2", { id: "growth-title" }, "Growth with the length"),
    el("p", { class: "quiet" }, "Both axes are logarithmic: a straight line is a power of the length. Dashed: the fitted power; ✕ where it was foreseen not to fit into memory."),
    ...[...groups].map(([settings, all]) => growthGroup(settings, all, groups.size > 1)), none || "");
}

function growthGroup(settings, all, isOneOfSeveral) {
  const drawn = QUANTITIES.map((what) => [what, all.filter((series) => pointsOf(series, what).length > 1)]).filter(([, shown]) => shown.length);
  const figures = drawn.map(([what, shown]) => el("figure", { class: "card", "data-growth": what.name }, el("h3", {}, `${what.name === "time" ? "Time" : "Memory"} against length`), chart((width) => growthChart(shown, what, width)), growthTable(shown, what)));
  const beyond = all.flatMap((series) => series.too_long.map((one) => el("li", {}, isolated(series.backend), ` does not fit from ${wholeNumber(one.keys)} keys on: `, why(one))));
  return el("div", { class: "growth-group" }, isOneOfSeveral && el("p", { class: "settings" }, isolated(settings)), el("div", { class: "charts" }, figures), beyond.length > 0 && el("ul", { class: "beyond" }, beyond));
}

function lengthsOf(shown) {
  return distinct(shown.flatMap((series) => [...series.lengths, ...series.too_long.map((one) => one.keys)])).sort((a, b) => a - b);
}

function growthChart(shown, what, width) {
  const box = plotBox(width, clamp(width * 0.6, 230, 340), { ...FRAME, top: 26 });
  const lengths = lengthsOf(shown);
  const fits = new Map(shown.map((series) => [series, fitOf(series, what)]));
  const ends = shown.flatMap((series) => series.too_long.map((one) => (fits.get(series) ? fits.get(series)(one.keys) : null)).filter(isNumber));
  const values = [...shown.flatMap((series) => pointsOf(series, what).map(([, value]) => value)), ...ends];
  const x = logScale(widened(lengths, 0.04), [box.x0, box.x1]);
  const reach = widened(values, 0.05);
  const y = logScale(reach, [box.y0, box.y1]);
  const ticks = logTicks(reach, what.base, 8);
  const said = shown.map((series) => seriesWords(series, what)).join("; ");
  const places = shown.flatMap((series) => pointsOf(series, what).map(([length, value]) => ({ x: x(length), y: y(value), result: resultOf(series, length), series, lines: [series.backend, `${wholeNumber(length)} keys`, what.text(value), `grows as ${power(series[what.exponent])}`] })));
  const crosses = shown.flatMap((series) => series.too_long.filter(() => fits.get(series)).map((one) => ({ x: x(one.keys), y: y(fits.get(series)(one.keys)), series, isBeyond: true, lines: [series.backend, `${wholeNumber(one.keys)} keys: ${one.reason || "does not fit"}`] })));
  const drawn = drawing(width, box.height, `${what.name} against length, both logarithmic: ${said}`, {},
    axes(box, { scale: x, ticks: apart(lengths, x, 40), text: wholeNumber, name: "keys" }, { scale: y, ticks: ticks.length > 1 ? ticks : logTicks(reach, 2, 8), text: (tick) => trimmed(what.text(tick)), name: what.name === "time" ? "median" : "beyond the inputs" }),
    shown.map((series) => fits.get(series) && fitLine(series, fits.get(series), x, y)), places.map((one) => mark(one.x, one.y, seriesOf(one.series.backend), 4.6, one.result && !one.result.is_quick)),
    crosses.map((one) => words(one.x, one.y + 5, "✕", `cross s${seriesOf(one.series.backend)}`, "middle")));
  return walkable(drawn, [...places, ...crosses]);
}

function isTooLong(series, length) {
  return series.too_long.some((one) => length >= one.keys);
}

function seriesWords(series, what) {
  const points = pointsOf(series, what);
  const [first, last] = [points[0], points.at(-1)];
  return `${series.backend} ${what.text(first[1])} at ${first[0]} to ${what.text(last[1])} at ${last[0]}, ${power(series[what.exponent])}`;
}

// The line of the fitted slope through the points' middle, on logarithmic axes.
function fitOf(series, what) {
  const slope = series[what.exponent];
  if (!isNumber(slope)) return null;
  const points = pointsOf(series, what);
  const mean = (at) => points.reduce((sum, point) => sum + Math.log(point[at]), 0) / points.length;
  const [across, level] = [mean(0), mean(1)];
  return (length) => Math.exp(level + slope * (Math.log(length) - across));
}

function fitLine(series, fit, x, y) {
  const ends = [series.lengths[0], series.too_long.length ? series.too_long[0].keys : series.lengths.at(-1)];
  return path(ends.map((length) => [x(length), y(fit(length))]), `fit s${seriesOf(series.backend)}`);
}

function resultOf(series, length) {
  const wanted = { ...series, keys: length, queries: series.queries_grow ? length : series.queries };
  return MEASURED.find((one) => one.backend === series.backend && isSameCase(one, wanted));
}

// The same in numbers, which is the chart's legend too.
function growthTable(shown, what) {
  const lengths = lengthsOf(shown);
  const row = (series) => {
    const known = new Map(pointsOf(series, what));
    return el("tr", { "data-backend": series.backend }, el("th", { scope: "row" }, glyph(series.backend), isolated(series.backend)), lengths.map((length) => el("td", {}, known.has(length) ? what.text(known.get(length)) : isTooLong(series, length) ? "does not fit" : UNKNOWN)),
      el("td", { "data-exponent": String(series[what.exponent]) }, power(series[what.exponent])));
  };
  const header = el("tr", {}, el("th", { scope: "col" }, "backend"), lengths.map((length) => el("th", { scope: "col" }, wholeNumber(length))), el("th", { scope: "col" }, "grows as"));
  return el("div", { class: "wide", role: "region", "aria-label": `${what.name} at each length`, tabindex: "0" }, el("table", { class: "numbers small" }, el("thead", {}, header), el("tbody", {}, shown.map(row))));
}
