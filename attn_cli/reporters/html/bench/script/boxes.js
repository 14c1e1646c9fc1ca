// All backends that were timed on a case: least, quartiles, median and most of each, on one axis.

const ROW = 25;

function boxes(chosen, width) {
  const all = sameCase(chosen).sort((a, b) => a.ms.median - b.ms.median);
  const left = clamp(7.4 * Math.max(...all.map((one) => one.backend.length)) + 30, 70, width * 0.4);
  const box = plotBox(width, all.length * ROW + 34, { top: 4, right: 16, bottom: 26, left });
  const reach = widened(all.flatMap((one) => [one.ms.min, one.ms.max]), 0.03);
  const x = logScale(reach, [box.x0, box.x1]);
  const ticks = logTicks(reach, 10, Math.max(2, (box.x1 - box.x0) / 62));
  const said = all.map((one) => `${one.backend} ${duration(one.ms.median)}${one.is_quick ? "" : ` (${one.status === "ok" ? "not compared" : one.status})`}`);
  const points = all.map((one, at) => ({ x: x(one.ms.median), y: at * ROW + ROW / 2 + 4, result: one, lines: boxLines(one) }));
  const grid = ticks.map((tick) => [line(x(tick), box.y1, x(tick), box.y0, "grid-line"), words(x(tick), box.y0 + 16, trimmed(duration(tick)), "tick", "middle")]);
  const drawn = drawing(width, box.height, `Times of the same case: ${said.join(", ")}`, { class: "drawing samples-beside" },
    grid, all.map((one, at) => boxOf(one, at * ROW + ROW / 2 + 4, x, one === chosen)), line(box.x0, box.y0, box.x1, box.y0, "axis"));
  return walkable(drawn, points);
}

function boxLines(one) {
  const { median, quartiles, min, max } = one.ms;
  return [one.backend, `median ${duration(median)}`, `quartiles ${duration(quartiles[0])} and ${duration(quartiles[1])}`, `least ${duration(min)}, most ${duration(max)}`, !one.is_quick && (one.status === "ok" ? "was not compared" : one.status)];
}

function boxOf(one, y, x, isChosen) {
  const series = seriesOf(one.backend);
  const [low, high] = one.ms.quartiles.map(x);
  return svg("g", { class: `box s${series}${one.is_quick ? "" : " hollow"}` },
    mark(9, y, series, 4.6, !one.is_quick), words(21, y + 4, one.backend, isChosen ? "name chosen" : "name", "start"),
    line(x(one.ms.min), y, x(one.ms.max), y, "whisker"), svg("rect", { x: low, y: y - 6, width: Math.max(1.5, high - low), height: 12, class: "quarters" }),
    line(x(one.ms.median), y - 8, x(one.ms.median), y + 8, "middle"));
}
