// FLOP/s against FLOPs a byte, below what the device was measured to reach (Williams et al. 2009).

const AROUND = 3; // how far beyond the points the axis of FLOPs a byte goes

function refreshRoofline() {
  const room = byId("roofline");
  forget(room);
  room.setAttribute("aria-labelledby", "roofline-title");
  const placed = MEASURED.filter((one) => one.intensity > 0 && one.tflops > 0);
  const shown = grouped(placed.filter((one) => passes(one)), (one) => one.dtype);
  room.hidden = !placed.length;
  const none = !shown.size && el("p", { class: "quiet" }, "None of the results is among what is chosen.");
  room.replaceChildren(el("h2", { id: "roofline-title" }, "Roofline, as measured"),
    el("p", { class: "quiet" }, "The line is the most that this device reached in the same run: a large copy below the ridge, a large matrix product above it. Hollow marks are wrong, or were not compared. A point opens its result."),
    el("div", { class: "charts" }, [...shown].map(([dtype, results]) => roofFigure(dtype, results, shown.size > 1))), none || "");
}

function roofFigure(dtype, results, isOneOfSeveral) {
  const legend = el("ul", { class: "legend" }, distinct(results.map((one) => one.backend)).map((backend) => el("li", {}, glyph(backend), isolated(backend))));
  return el("figure", { class: "card", "data-roofline": dtype }, el("h3", {}, isolated(isOneOfSeveral ? dtype : `${dtype}, ${distinct(results.map((one) => one.mode)).join(" and ")}`)), chart((width) => roofChart(dtype, results, width)), legend);
}

function roofChart(dtype, results, width) {
  const box = plotBox(width, clamp(width * 0.5, 260, 400), { ...FRAME, left: 78, top: 26 });
  const most = page.peaks.flops_per_s[dtype] ?? null;
  const speed = page.peaks.bytes_per_s;
  const ridge = most && speed ? most / speed : null;
  const across = [...results.map((one) => one.intensity), ...(ridge ? [ridge] : [])];
  const xs = [Math.min(...across) / AROUND, Math.max(...across) * AROUND];
  const roof = ridge ? [[xs[0], xs[0] * speed], [ridge, most], [xs[1], most]] : [];
  const ys = widened([...results.map((one) => one.tflops * 1e12), ...roof.map(([, value]) => value)], 0.07);
  const [x, y] = [logScale(xs, [box.x0, box.x1]), logScale(ys, [box.y0, box.y1])];
  const points = results.map((one) => ({ x: x(one.intensity), y: y(one.tflops * 1e12), result: one, lines: pointLines(one) }));
  const known = ridge ? `the roof is ${perSecond(speed, "B/s")} up to ${short(ridge)} FLOPs a byte, then ${perSecond(most, "FLOP/s")}` : "the roof was not measured";
  const said = `Roofline of ${dtype}, both axes logarithmic: ${known}; ${counted(results.length, "point")}, whose rates, FLOPs a byte and shares are in the table of results`;
  const drawn = drawing(width, box.height, said, {},
    axes(box, { scale: x, ticks: logTicks(xs, 10, Math.max(3, width / 80)), text: (tick) => String(Number(tick.toPrecision(3))), name: "FLOPs a byte" },
      { scale: y, ticks: logTicks(ys, 10, 8), text: (tick) => trimmed(perSecond(tick, "FLOP/s")), name: "rate" }),
    roof.length > 0 && [path(roof.map(([a, b]) => [x(a), y(b)]), "roof"), words(box.x1, y(most) - 6, perSecond(most, "FLOP/s"), "roof-name", "end"), slopeName(roof, speed, x, y)],
    points.map((one) => mark(one.x, one.y, seriesOf(one.result.backend), 5, !one.result.is_quick)));
  return walkable(drawn, points);
}

// Along the slope, in its lower half, where no point can be above it.
function slopeName(roof, speed, x, y) {
  const at = Math.sqrt(roof[0][0] * roof[1][0]);
  const isLeft = x(at) > 170;
  return words(x(at) + (isLeft ? -8 : 10), y(at * speed) + (isLeft ? -4 : 14), perSecond(speed, "B/s"), "roof-name", isLeft ? "end" : "start");
}

function pointLines(one) {
  const share = isNumber(one.share_of_peak) ? `${percent(one.share_of_peak)} of the roofline` : "share of the roofline unknown";
  return [one.backend, caseText(one), `${perSecond(one.tflops * 1e12, "FLOP/s")} at ${short(one.intensity)} FLOPs a byte`, share, !one.is_quick && (one.status === "ok" ? "was not compared" : one.status)];
}
