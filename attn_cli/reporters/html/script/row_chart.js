// The weights of one query row as bars, on the same axis of keys as the picture above.

const CHART_HEIGHT = 112;

function drawRowChart(canvas, above, sources, row) {
  if (!canvas.clientWidth) return;
  const [source, other] = sources;
  const box = other ? { ...above, w: canvas.clientWidth - above.x - above.right } : above;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(CHART_HEIGHT * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const view = windowOf(source.call);
  const line = lineOf(source, row, view);
  const colours = pictureColours();
  const plot = { x: box.x, w: box.w, y: 14, h: CHART_HEIGHT - 22, labels: box.sinkX - 10 };
  const otherLine = other && row < other.call.queries ? lineOf(other, row, view) : null;
  const highest = niceHeight(Math.max(largestIn(line.values), otherLine ? largestIn(otherLine.values) : 0));
  chartAxis(context, plot, highest, colours);
  context.save();
  context.beginPath();
  context.rect(plot.x, 0, plot.w, plot.y + plot.h + 2);
  context.clip();
  drawBars(context, plot, view, line, highest, colours);
  if (otherLine) drawSteps(context, plot, view, otherLine, highest);
  context.restore();
  if (box.sink) drawSinkBar(context, box, plot, source.at(row, -1), highest);
}

const NEAR = 256; // so few keys in view are drawn one by one, exact where a window holds them

function lineOf(source, row, view) {
  const whole = source.row(row);
  if (whole.isExact || view.keys > NEAR) return { ...whole, first: 0 };
  const first = Math.floor(view.k0);
  const cells = Array.from({ length: Math.min(source.call.keys, Math.ceil(view.k1)) - first }, (_, at) => source.at(row, first + at));
  const values = cells.map((cell) => (cell.state === "masked" && !cell.weight ? HIDDEN : cell.weight));
  return { ...whole, values, step: 1, first, isExact: false, exactly: cells.map((cell) => cell.isExact) };
}

function largestIn(values) {
  return values.reduce((largest, value) => (value > largest ? value : largest), 0);
}

function niceHeight(largest) {
  const power = 10 ** Math.floor(Math.log10(largest || 1));
  return Math.min(1, [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((value) => value >= largest * 0.999)) || 1;
}

function chartAxis(context, plot, highest, colours) {
  Object.assign(context, { font: FONT.replace("12px", "11px"), textAlign: "right", textBaseline: "middle", fillStyle: colours.muted });
  for (const share of [0, 0.5, 1]) {
    const y = plot.y + plot.h * (1 - share);
    context.fillText(String(Number((share * highest).toPrecision(3))), plot.labels, y);
    context.globalAlpha = share ? 0.5 : 1;
    context.fillStyle = colours.line;
    context.fillRect(plot.x, Math.round(y), plot.w, 1);
    context.globalAlpha = 1;
    context.fillStyle = colours.muted;
  }
}

function drawBars(context, plot, view, line, highest, colours) {
  const wide = (plot.w / view.keys) * line.step;
  const cursor = Math.floor((Math.max(0, shownCell().key) - line.first) / line.step);
  const bar = Math.max(1, wide - (wide > 6 ? 2 : 0));
  for (let at = firstIn(line, view); line.first + at * line.step < view.k1 && at < line.values.length; at++) {
    const value = line.values[at];
    const x = plot.x + (line.first + at * line.step - view.k0) * (plot.w / view.keys) + (wide - bar) / 2;
    if (x + bar < plot.x || x > plot.x + plot.w) continue;
    context.fillStyle = at === cursor && shownCell().key >= 0 ? colours.ink : cssColourOnce("--bar");
    if (Number.isNaN(value)) {
      context.fillStyle = NAN_COLOUR[theme()];
      context.fillRect(x, plot.y, bar, plot.h);
    } else if (value === HIDDEN) {
      context.fillStyle = colours.hatch;
      context.fillRect(x, plot.y + plot.h - 3, bar, 3);
    } else {
      if (value < 0) context.fillStyle = NAN_COLOUR[theme()]; // no weight of a softmax: it stands out
      const h = Math.max(value ? 0.75 : 0, Math.min(1, Math.abs(value) / highest) * plot.h);
      context.globalAlpha = line.exactly && !line.exactly[at] ? 0.4 : 1;
      context.fillRect(x, plot.y + plot.h - h, bar, h);
      context.globalAlpha = 1;
    }
  }
}

function firstIn(line, view) {
  return Math.max(0, Math.floor((view.k0 - line.first) / line.step));
}

// A second head's row over the bars of the first.
function drawSteps(context, plot, view, line, highest) {
  Object.assign(context, { strokeStyle: cssColour("--focus"), lineWidth: 1.6 });
  context.beginPath();
  for (let at = firstIn(line, view); line.first + at * line.step < view.k1 && at < line.values.length; at++) {
    const x = plot.x + (line.first + at * line.step - view.k0) * (plot.w / view.keys);
    const y = plot.y + plot.h * (1 - Math.max(0, line.values[at] || 0) / highest);
    context.lineTo(x, y);
    context.lineTo(x + (plot.w / view.keys) * line.step, y);
  }
  context.stroke();
}

let barColour = ["", ""];

function cssColourOnce(name) {
  if (barColour[0] !== theme()) barColour = [theme(), cssColour(name)];
  return barColour[1];
}

function drawSinkBar(context, box, plot, cell, highest) {
  const h = cell.state === "weight" ? Math.min(1, cell.weight / highest) * plot.h : 0;
  context.fillStyle = cssColourOnce("--bar");
  context.fillRect(box.sinkX + 2, plot.y + plot.h - h, box.sink - 4, h);
}

// In words: what the bars are, and how many keys hold most of the row.
function rowWords(source, row) {
  const { values, rows, isExact, step } = source.row(row);
  const seen = values.filter((value) => value !== HIDDEN);
  if (seen.some(Number.isNaN)) return "This row has NaN.";
  if (!seen.length) return "This row is fully masked: no visible key.";
  if (!isExact && step * source.queryPool === 1) return `${counted(seen.length, "visible key")}; the weights are in 8 bits.`;
  const pool = `the largest of ${rows[1] - rows[0]} × ${step} weights${rows[1] - rows[0] > 1 ? `, of ${rowsName(source, rows)[0]}` : ""}`;
  if (!isExact) return windowOf(source.call).keys > NEAR ? `Pooled: each bar is ${pool}.` : `Bars in full colour are exact; a pale one is ${pool}.`;
  const below = seen.filter((value) => value < 0).length;
  if (below) return `${counted(seen.length, "visible key")}; ${below === 1 ? "1 weight is" : `${wholeNumber(below)} weights are`} below 0.`;
  const most = keysOfShare(seen, 0.9);
  return `${counted(seen.length, "visible key")}; 90 % of the weight is on ${most === 1 ? "1 of them" : `${wholeNumber(most)} of them`}.`;
}

// How many of the largest weights make so much of them all.
function keysOfShare(weights, share) {
  const sorted = [...weights].sort((a, b) => b - a);
  const whole = sorted.reduce((sum, value) => sum + value, 0);
  let [held, most] = [0, 0];
  while (held < share * whole && most < sorted.length) held += sorted[most++];
  return most;
}
