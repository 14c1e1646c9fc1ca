// Names of rows and columns: tokens where they are known and have the space, else numbers.

const FONT = '12px ui-sans-serif, system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif';
const TOKEN_SPACE = 12; // pixels a row of cells needs for a name
const TURN = -Math.PI / 3.2; // of the names above the columns
const LEAN = Math.sin(-TURN);

function widestToken(context, call, batch) {
  const tokens = (tokensOf(call, batch) || []).slice(0, Math.min(400, call.keys));
  return tokens.reduce((widest, token) => Math.max(widest, context.measureText(token.slice(0, 40)).width), 0);
}

// Room for the names, the same at every zoom, so that the picture does not jump.
function axisMargins(context, call, batch, width) {
  context.font = FONT;
  const most = width < 460 ? 64 : 112;
  const numbers = context.measureText(wholeNumber(queryNumber(call, call.queries - 1))).width;
  const tokens = Math.min(most, widestToken(context, call, batch));
  const left = Math.max(numbers, call.queries_are_keys ? tokens : 0) + 34;
  return { left: Math.ceil(left), right: tokens ? Math.min(36, Math.ceil(tokens / 2)) : 10, top: Math.ceil(Math.max(16, tokens * LEAN)) + 32 };
}

function fitted(context, text, most) {
  if (context.measureText(text).width <= most) return text;
  let kept = text;
  while (kept && context.measureText(`${kept}…`).width > most) kept = kept.slice(0, -1);
  return `${kept}…`;
}

function drawAxes(context, source, box, view, colours) {
  const { call } = source;
  const batch = source.place.batch;
  const [height, width] = [box.h / view.rows, box.w / view.keys];
  Object.assign(context, { font: FONT, direction: "ltr", textBaseline: "middle" });
  context.fillStyle = colours.muted;
  const hasNames = tokensOf(call, batch);
  if (hasNames && call.queries_are_keys && height >= TOKEN_SPACE) rowNames(context, call, batch, box, view, colours);
  else rowNumbers(context, call, box, view);
  if (hasNames && width >= TOKEN_SPACE) columnNames(context, call, batch, box, view, colours);
  else columnNumbers(context, call, box, view);
  axisTitles(context, box, colours);
}

function rowNames(context, call, batch, box, view, colours) {
  context.textAlign = "right";
  const most = box.sinkX - 32;
  for (let row = Math.floor(view.q0); row < view.q1; row++) {
    const y = box.y + ((row + 0.5 - view.q0) / view.rows) * box.h;
    if (y < box.y || y > box.y + box.h) continue;
    context.fillStyle = row === shownCell().row ? colours.ink : colours.muted;
    context.fillText(fitted(context, queryToken(call, batch, row) ?? wholeNumber(queryNumber(call, row)), most), box.sinkX - 11, y);
  }
}

function rowNumbers(context, call, box, view) {
  context.textAlign = "right";
  for (const row of ticks(view.q0, view.q1, box.h / 28)) {
    const y = box.y + ((row + 0.5 - view.q0) / view.rows) * box.h;
    if (y < box.y || y > box.y + box.h) continue;
    context.fillText(wholeNumber(queryNumber(call, row)), box.sinkX - 10, y);
    context.fillRect(box.sinkX - 6, Math.round(y), 4, 1);
  }
}

function ticks(first, behind, most) {
  const step = niceStep(behind - first, most);
  const found = [];
  for (let at = Math.ceil((first - 0.5) / step) * step; at < behind; at += step) if (at >= 0) found.push(Math.abs(at));
  return found;
}

function columnNames(context, call, batch, box, view, colours) {
  context.textAlign = "left";
  for (let key = Math.floor(view.k0); key < view.k1; key++) {
    const x = box.x + ((key + 0.5 - view.k0) / view.keys) * box.w;
    if (x < box.x || x > box.x + box.w) continue;
    context.save();
    context.translate(x, box.y - 11);
    context.rotate(TURN);
    context.fillStyle = key === shownCell().key ? colours.ink : colours.muted;
    context.fillText(fitted(context, keyToken(call, batch, key) ?? wholeNumber(key), (box.y - 28) / LEAN), 0, 0);
    context.restore();
  }
}

function columnNumbers(context, call, box, view) {
  context.textAlign = "center";
  const widest = context.measureText(wholeNumber(call.keys)).width + 16;
  for (const key of ticks(view.k0, view.k1, box.w / widest)) {
    const x = box.x + ((key + 0.5 - view.k0) / view.keys) * box.w;
    if (x < box.x || x > box.x + box.w) continue;
    context.fillText(wholeNumber(key), x, box.y - 13);
    context.fillRect(Math.round(x), box.y - 6, 1, 4);
  }
}

function axisTitles(context, box, colours) {
  context.fillStyle = colours.muted;
  context.font = FONT.replace("12px", "600 11px");
  context.textAlign = "right";
  context.fillText("keys →", box.x + box.w, 8);
  context.save();
  context.translate(8, box.y + box.h);
  context.rotate(-Math.PI / 2);
  context.textAlign = "left";
  context.fillText("← queries", 0, 0);
  context.restore();
  if (!box.sink) return;
  context.save();
  context.translate(box.sinkX + box.sink / 2, box.y - 11);
  context.rotate(TURN);
  context.textAlign = "left";
  context.fillText("sink", 0, 0);
  context.restore();
}
