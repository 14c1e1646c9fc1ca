// A head as a small picture. It is unpacked and drawn when it comes into view.

const THUMBNAIL = 64;
const waiting = new Map(); // canvas → place, until it is drawn
const drawn = new WeakMap(); // canvas → what it shows, in codes
let drawing = [];
const scratch = el("canvas");

const inView = new IntersectionObserver((entries) => {
  const seen = entries.filter((entry) => entry.isIntersecting && waiting.has(entry.target)).map((entry) => entry.target);
  drawing.push(...seen.map(drawTile));
  firstSeen();
}, { rootMargin: "240px" });

let firstSeen = () => {};
// Resolves when the tiles that are in view at first are drawn.
const tilesSeen = new Promise((resolve) => {
  firstSeen = () => Promise.all(drawing).then(resolve);
});

function watchTile(canvas, place) {
  waiting.set(canvas, place);
  inView.observe(canvas);
}

function forgetTiles() {
  for (const canvas of waiting.keys()) inView.unobserve(canvas);
  waiting.clear();
  drawing = [];
}

async function drawTile(canvas) {
  const place = waiting.get(canvas);
  waiting.delete(canvas);
  inView.unobserve(canvas);
  if (place.draw) return place.draw(canvas);
  const head = headAt(place);
  const isSmall = Boolean(head.thumb); // else the picture itself is small
  const [own, ownSink] = isSmall ? [head.thumb, head.thumb_sink] : [head.cells, head.sink];
  const [cells, sink] = await Promise.all([bytesOf(own), ownSink ? bytesOf(ownSink) : null]);
  paintTile(canvas, isSmall ? callAt(place).thumb : callAt(place).picture, cells, sink);
}

function paintTile(canvas, { rows, columns }, cells, sink) {
  const down = Math.ceil(rows / THUMBNAIL);
  const across = Math.ceil(columns / THUMBNAIL);
  drawn.set(canvas, { level: pooled(cells, rows, columns, down, across, BY_CODE), sink: sink && pooled(sink, rows, 1, down, 1, BY_CODE) });
  paintAgain(canvas);
  canvas.dataset.drawn = "true";
}

function paintAgain(canvas) {
  const { level, sink } = drawn.get(canvas);
  const scale = sink ? Math.max(1, Math.ceil(THUMBNAIL / level.columns)) : 1;
  const [width, height] = [level.columns * scale, level.rows * scale];
  const [column, gap] = sink ? [Math.round(width / 14), Math.ceil(width / 40)] : [0, 0];
  canvas.width = width + column + gap;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(painted(level.codes, level.rows, level.columns, "weights", scratch), column + gap, 0, width, height);
  if (!sink) return;
  context.drawImage(painted(sink.codes, sink.rows, 1, "weights", scratch), 0, 0, column, height);
  context.fillStyle = cssColour("--card");
  context.fillRect(column, 0, gap, height);
}

// In the colours of the paper, at once: printing does not wait.
function repaintTiles() {
  for (const canvas of document.querySelectorAll("#tiles .thumb")) if (drawn.has(canvas)) paintAgain(canvas);
  for (const one of document.querySelectorAll("#tiles .tile")) {
    colourCaption(one.querySelector(".caption"), tileColour({ call: Number(one.dataset.call), batch: Number(one.dataset.batch), head: Number(one.dataset.head) }));
  }
}

paperPainters.push(repaintTiles);

function colourCaption(caption, colour) {
  caption.style.backgroundColor = colour ? rgb(colour) : "";
  caption.style.color = colour ? inkOn(colour) : "";
}

// What was never seen is drawn when nothing else is to do, so that the page prints whole.
function drawTheRest(most) {
  const idle = window.requestIdleCallback || ((work) => setTimeout(work, 50));
  const next = () => {
    const some = [...waiting.keys()].slice(0, 4);
    if (!some.length || waiting.size > most) return;
    Promise.all(some.map(drawTile)).then(() => idle(next));
  };
  idle(next);
}

function tileColour(place) {
  const at = metricIndex(state.colour);
  const share = at < 0 ? null : metricShare(at, headAt(place).metrics[at]);
  return share === null ? null : mixed(SEQUENTIAL[theme()], 0.08 + 0.84 * share);
}

function tile(place) {
  const head = headAt(place);
  const { rows, columns } = callAt(place).picture;
  const canvas = el("canvas", { class: "thumb hatched", width: 1, height: 1, "aria-hidden": "true" });
  canvas.style.aspectRatio = String(clamp(columns / rows, 0.5, 2));
  const caption = el("span", { class: "caption" }, el("b", {}, shortNameIn(place)), tileWords(place));
  const colour = tileColour(place);
  colourCaption(caption, colour);
  const tileButton = el("button", { type: "button", class: "tile", tabindex: -1, "data-open": "", "aria-label": tileLabel(place), "data-call": place.call, "data-batch": place.batch,
    "data-head": place.head, "data-label": head.label, onclick: () => openHead(place, cursorAt(place)) }, canvas, caption);
  watchTile(canvas, place);
  return explained(tileButton, () => [`${placeName(place)}: ${head.label}`, page.labels[head.label], colour && metricWords(place)]);
}

function shortNameIn(place) {
  return state.sort ? shortName(place) : `H${callAt(place).head_numbers[place.head]}`;
}

function shownMetric() {
  return metricIndex(state.colour) >= 0 ? metricIndex(state.colour) : metricIndex(state.sort);
}

function tileWords(place) {
  const at = shownMetric();
  const head = headAt(place);
  if (at < 0) return labelChip(head.label);
  const value = el("span", { class: "value" }, digits(head.metrics[at], 3));
  return head.label === "broken" ? [labelChip("broken"), value] : value;
}

function metricWords(place) {
  const at = shownMetric();
  if (at < 0) return "";
  const { name, unit } = page.metrics[at];
  return `${metricName(name)} ${digits(headAt(place).metrics[at], 4)} ${unitText(unit)}`.trim();
}

function tileLabel(place) {
  const words = metricWords(place);
  return `${placeName(place)}, ${headAt(place).label}${words ? `, ${words}` : ""}`;
}
