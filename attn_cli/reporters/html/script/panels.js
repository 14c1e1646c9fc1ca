// Beside a head's picture: its strongest pairs and its metrics.

function pairsPanel(place, other) {
  const { top } = headAt(place);
  const title = other ? `Strongest pairs of ${shortName(place)}` : "Strongest pairs";
  if (!top.length) return block(title, el("p", { class: "muted" }, "No query sees a key."), "pairs");
  return block(title, el("ol", { class: "pairs" }, top.map((pair, at) => el("li", {}, pairButton(place, pair, at)))), "pairs");
}

function pairButton(place, [row, key, weight], at) {
  const call = callAt(place);
  const bar = el("span", { class: "bar", "aria-hidden": "true" });
  bar.style.width = `${100 * clamp(weight, 0, 1)}%`;
  return el("button", { type: "button", class: "pair", "data-pair": at, "data-row": row, "data-key": key, onclick: () => jumpTo(row, key) },
    el("span", {}, nameOf(wholeNumber(queryNumber(call, row)), queryToken(call, place.batch, row)), el("span", { class: "arrow" }, " → "),
      nameOf(wholeNumber(key), keyToken(call, place.batch, key))),
    el("span", { class: "value" }, weight >= 0.001 ? weight.toFixed(4) : digits(weight, 3)), bar);
}

// To a weight, near enough that single weights are to be seen.
function jumpTo(row, key) {
  const call = page.calls[state.call];
  const isCoarse = call.picture.query_pool * call.picture.key_pool > 1;
  const zoom = isCoarse ? Math.max(state.zoom, mostZoom(call) / 8) : state.zoom;
  const at = zoom > 1 ? [row + 0.5, key + 0.5] : null;
  update({ row, key, zoom: clamp(zoom, 1, mostZoom(call)), at }, { by: "jump" });
}

function stepPairs(direction) {
  const { top } = headAt(openedPlace());
  if (!top.length) return;
  const now = top.findIndex(([row, key]) => row === state.row && key === state.key);
  const [row, key] = top[(now < 0 ? (direction > 0 ? 0 : top.length - 1) : now + direction + top.length) % top.length];
  jumpTo(row, key);
}

function metricsPanel(place, other) {
  const known = page.metrics.map((_, at) => at).filter((at) => [place, other].some((one) => one && Number.isFinite(headAt(one).metrics[at])));
  const head = other && el("thead", {}, el("tr", {}, ["metric", shortName(place), shortName(other)].map((name) => el("th", { scope: "col" }, name))));
  return block("Metrics", el("table", { class: "metrics" }, head, el("tbody", {}, known.map((at) => metricRow(at, [place, other].filter(Boolean))))), "metrics");
}

function metricRow(at, places) {
  const { name, unit } = page.metrics[at];
  const title = metricTip(el("span", { tabindex: 0, class: "has-tip" }, metricName(name)), at);
  return el("tr", { "data-metric": name }, el("th", { scope: "row" }, title), places.map((place) => metricCell(at, place, unitText(unit))));
}

function metricCell(at, place, unit) {
  const value = headAt(place).metrics[at];
  const share = metricShare(at, value);
  const dot = el("i", { class: "place", "aria-hidden": "true" });
  if (share !== null) dot.style.left = `${100 * share}%`;
  return el("td", { "data-value": value }, el("span", { class: "value" }, digits(value, 4), Number.isFinite(value) && unit && unit.length < 6 && el("small", {}, ` ${unit}`)),
    el("span", { class: share !== null && metricRanges[at].high > metricRanges[at].low ? "track" : "track unseen-place" }, dot));
}

function compareChoice() {
  const place = openedPlace();
  const options = page.calls.flatMap((call, number) => call.heads.map((head) => ({ call: number, batch: head.batch, head: head.head })))
    .filter((other) => !samePlace(place, other) && sameSize(place, other)).slice(0, 2000);
  const value = (other) => `${other.call}.${other.batch}.${other.head}`;
  const chosen = state.with ? value(state.with) : "";
  const list = options.map((other) => option(value(other), `${placeName(other)} · ${headAt(other).label}`, value(other) === chosen));
  return choice("compare", "compare with", [option("", "nothing", !chosen), ...list], (text) => {
    const [call, batch, head] = text.split(".").map(Number);
    update({ with: text ? { call, batch, head } : null }, { push: true });
  });
}

function sameSize(place, other) {
  const [a, b] = [callAt(place), callAt(other)];
  return a.queries === b.queries && a.keys === b.keys;
}
