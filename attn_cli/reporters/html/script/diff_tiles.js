// The heads of two sides as small pictures: A, B, and below them where they differ.

const LEAST_SCALE = 1e-3; // rounding is not painted as if it were a difference
const weightScaleOfPage = page.diff ? Math.max(LEAST_SCALE, ...page.diff.pairs.map((pair) => measure(pair.weights && pair.weights.total, "max_abs_error") || 0)) : 1;

const ownDrawings = new Map(); // canvas → what draws it

function comparedTiles() {
  ownDrawings.clear();
  return page.diff.pairs.flatMap((pair) => [
    ...[pair.left, pair.right].filter((number) => number !== null).map(callTiles),
    pair.right !== null && pair.weights && isApart(pair.weights) && differenceTiles(pair, "weights"),
    pair.output && pair.output.map && (isApart(pair.output) && !pair.weights || !pair.output.total.within) && differenceTiles(pair, "output"),
  ]).filter(Boolean);
}

// Whether anything is to be seen: a value that differs at all, or in what is finite.
function isApart(part) {
  return !part.total.within || measure(part.total, "max_abs_error") > 0;
}

function differenceTiles(pair, name) {
  const call = page.calls[pair.left];
  if (!call) return null;
  const places = call.head_numbers.map((_, head) => ({ call: pair.left, batch: batchIn(call), head })).filter(headAt);
  const what = name === "weights" ? "A − B" : "|A − B|, output";
  const scale = name === "weights" ? weightScaleOfPage : pair.output.map.largest;
  const title = el("h3", {}, what, el("small", {}, name === "weights" ? `colours to ±${digits(scale, 2)}` : `queries × features, colours to ${digits(scale, 2)}`));
  const tiles = places.map((place) => differenceTile(pair, name, place));
  const grid = el("div", { class: "grid", role: "group", onkeydown: moveAmongTiles }, tiles);
  grid.style.setProperty("--heads", Math.min(call.head_numbers.length, 16));
  return el("section", { class: `call differences${page.calls.length > 1 ? "" : " alone"}`, "data-quantity": name, "aria-label": `${what} ${pair.name}` }, title, grid);
}

function differenceTile(pair, name, place) {
  const head = comparedHead(pair, name, place);
  const text = head ? errorText(measure(head, "max_abs_error")) : "–";
  const canvas = el("canvas", { class: "thumb hatched", width: 1, height: 1, "aria-hidden": "true" });
  const { rows, columns } = name === "weights" ? callAt(place).picture : pair.output.map;
  canvas.style.aspectRatio = String(clamp(columns / rows, 0.5, 2));
  const draw = name === "weights" ? drawWeightsApart(place, canvas) : drawMap(pair.output, head, canvas);
  watchTile(canvas, { ...place, draw });
  ownDrawings.set(canvas, draw);
  const caption = el("span", { class: "caption" }, el("b", {}, `H${callAt(place).head_numbers[place.head]}`), el("span", { class: "value" }, head && passMark(head.within), " ", text));
  return el("button", { type: "button", class: "tile apart", tabindex: -1, "data-apart": name, "data-call": place.call, "data-batch": place.batch, "data-head": place.head,
    "aria-label": `${placeName(place)}: ${name} ${head && head.within ? "equal" : "differ"}, at most ${text} apart`, onclick: () => openCompared(place) }, canvas, caption);
}

// The numbers of a head, by the numbers of its place.
function comparedHead(pair, name, place) {
  const call = callAt(place);
  const [batch, number] = [call.batch[place.batch], call.head_numbers[place.head]];
  return pair[name] ? pair[name].heads.find((head) => head.batch === batch && head.head === number) : null;
}

function drawWeightsApart(place, canvas) {
  return async () => {
    const { place: left, other } = sidesOf(place);
    const [one, two] = await Promise.all([headData(left), other ? headData(other) : null]);
    if (two && !whyNoDifference(one, two)) {
      const apart = new Difference(one, two, weightScaleOfPage);
      const [down, across] = [Math.ceil(apart.rows / THUMBNAIL), Math.ceil(apart.columns / THUMBNAIL)];
      copied(canvas, apart.levels.canvas(down, across));
    }
    canvas.dataset.drawn = "true";
  };
}

function drawMap(part, head, canvas) {
  return async () => {
    if (head && head.cells) copied(canvas, mapPicture(part.map, await bytesOf(head.cells)));
    canvas.dataset.drawn = "true";
  };
}

function copied(canvas, picture) {
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d").drawImage(picture, 0, 0);
}

// |A − B| in the colours of weights, whatever weight has the strongest colour now.
function mapPicture({ rows: high, columns: wide }, codes) {
  const canvas = el("canvas", { width: wide, height: high });
  const image = new ImageData(wide, high);
  for (let i = 0; i < codes.length; i++) {
    const colour = codes[i] === NAN_CODE ? channels(NAN_COLOUR[theme()]) : mixed(SEQUENTIAL[theme()], (codes[i] - 1) / STEPS);
    image.data.set([...colour, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

paperPainters.push(() => {
  for (const [canvas, draw] of ownDrawings) if (canvas.isConnected && canvas.dataset.drawn) draw();
});
