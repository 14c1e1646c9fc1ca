// The samples of one result: how often each time occurred, and one after the other.

const HIGH = 210;
const FAR = 6; // interquartile ranges above the upper quartile: farther samples are marked at the edge

// From the least to the most, but for a few that are so far off that the rest would be squeezed together.
function reachOf(one) {
  const { min, max, iqr, quartiles } = one.ms;
  const most = iqr > 0 ? Math.min(max, quartiles[1] + FAR * iqr) : max;
  const room = (most - min) * 0.03 || min * 0.05 || 1e-9;
  return [Math.max(0, min - room), most + room];
}

function timeTick(reach) {
  const unit = reach[1] >= 10000 ? [1000, "s"] : reach[1] >= 1 ? [1, "ms"] : [0.001, "µs"];
  return (value) => `${Number((value / unit[0]).toPrecision(6))} ${unit[1]}`;
}

function sampleWords(one, how) {
  const { ms } = one;
  return `${how} of ${one.backend}, ${caseText(one)}: median ${duration(ms.median)}, quartiles ${duration(ms.quartiles[0])} and ${duration(ms.quartiles[1])}, from ${duration(ms.min)} to ${duration(ms.max)}`;
}

function histogram(one, width) {
  const box = plotBox(width, HIGH, { ...FRAME, left: 40, bottom: 50 });
  const reach = reachOf(one);
  const inside = one.ms.samples.filter((sample) => sample <= reach[1]);
  const bins = clamp(Math.ceil(1.6 * Math.sqrt(inside.length)), 4, 36);
  const [least, most] = [Math.min(...inside), Math.max(...inside)];
  const size = (most - least) / bins || 1;
  const counts = new Array(bins).fill(0);
  for (const sample of inside) counts[Math.min(bins - 1, Math.floor((sample - least) / size))] += 1;
  const x = linearScale(reach, [box.x0, box.x1]);
  const highest = Math.max(...counts);
  const y = linearScale([0, highest * 1.08], [box.y0, box.y1]);
  const bars = counts.map((count, at) => count > 0 && svg("rect", { x: x(least + at * size) + 0.4, y: y(count), width: Math.max(1, x(least + (at + 1) * size) - x(least + at * size) - 0.8), height: box.y0 - y(count), class: "bar-of" }));
  const strip = one.ms.samples.map((sample, at) => (sample > reach[1] ? null : svg("circle", { cx: x(sample), cy: box.y0 + 9 + ((at * 7) % 9), r: 1.7, class: "sample" })));
  const ticks = linearTicks(reach, Math.max(2, width / 90));
  const inTicks = linearTicks([0, highest], 4).filter(Number.isInteger);
  const text = timeTick(reach);
  return drawing(width, HIGH, sampleWords(one, "Histogram"), { class: "drawing samples-histogram" },
    svg("rect", { x: x(one.ms.quartiles[0]), y: box.y1, width: Math.max(0.5, x(Math.min(one.ms.quartiles[1], reach[1])) - x(one.ms.quartiles[0])), height: box.y0 - box.y1 + 22, class: "quartiles" }),
    inTicks.map((tick) => [line(box.x0, y(tick), box.x1, y(tick), "grid-line"), words(box.x0 - 6, y(tick) + 4, String(tick), "tick", "end")]),
    ticks.map((tick) => words(x(tick), box.y0 + 38, text(tick), "tick", "middle")), bars, strip,
    line(x(one.ms.median), box.y1 - 4, x(one.ms.median), box.y0 + 22, "median-line"), line(box.x0, box.y0, box.x1, box.y0, "axis"),
    words(4, box.y1 - 2, "runs", "axis-name", "start"), one.ms.max > reach[1] && words(box.x1 + 3, box.y0 + 17, "▸", "tick", "start"));
}

function inTime(one, width) {
  const box = plotBox(width, HIGH, { ...FRAME, left: 66 });
  const reach = reachOf(one);
  const { samples, every, count, quartiles, median } = one.ms;
  const x = linearScale([1, Math.max(2, count)], [box.x0 + 6, box.x1 - 6]);
  const y = linearScale(reach, [box.y0, box.y1]);
  const text = timeTick(reach);
  const runs = linearTicks([1, Math.max(2, count)], Math.max(2, width / 70)).filter((tick) => tick >= 1 && Number.isInteger(tick));
  const places = samples.map((sample, at) => [x(at * every + 1), y(Math.min(sample, reach[1]))]);
  const points = places.map(([px, py], at) => ({ x: px, y: py, lines: [`run ${wholeNumber(at * every + 1)}`, duration(samples[at])] }));
  const [low, high] = [y(quartiles[0]), y(Math.min(quartiles[1], reach[1]))];
  const drawn = drawing(width, HIGH, sampleWords(one, "Runs in time order"), { class: "drawing samples-in-time" },
    svg("rect", { x: box.x0, y: high, width: box.x1 - box.x0, height: Math.max(0.5, low - high), class: "quartiles" }),
    axes(box, { scale: x, ticks: runs, text: wholeNumber, name: "run" }, { scale: y, ticks: linearTicks(reach, 5), text }),
    path(places, "thread"), places.map(([px, py], at) => (samples[at] > reach[1] ? words(px, box.y1 + 6, "▴", "tick", "middle") : svg("circle", { cx: px, cy: py, r: 2.1, class: "sample" }))),
    line(box.x0, y(median), box.x1, y(median), "median-line dashed"));
  return walkable(drawn, points);
}
