// The points of a chart told one by one: the one nearest to the pointer, or by the arrow keys where the chart has the focus.

const NEAR = 26; // pixels
const OVERLAP = 4;

let placeAgain = null; // puts what the keyboard has shown to its place after the page was scrolled

function onScroll() {
  if (placeAgain) placeAgain();
  else hideTip();
}

// Points that one cannot tell apart by pointing.
function alsoAt(points, at) {
  const near = points.filter((point, other) => other !== at && Math.hypot(point.x - points[at].x, point.y - points[at].y) < OVERLAP);
  return near.map((point) => `also here: ${point.lines.filter(Boolean).slice(0, 3).join(", ")}`);
}

// `points`: {x, y, lines, result}, with x and y in the drawing's own coordinates.
function walkable(drawn, points) {
  if (!points.length) return drawn;
  const ring = svg("circle", { r: 9, class: "ring", hidden: "" });
  const order = points.map((_, at) => at).sort((a, b) => points[a].x - points[b].x || points[b].y - points[a].y);
  let current = -1;
  const show = (at, isSpoken) => {
    current = at;
    placeAgain = null;
    ring.toggleAttribute("hidden", at < 0);
    if (at < 0) return hideTip();
    ring.setAttribute("cx", points[at].x.toFixed(2));
    ring.setAttribute("cy", points[at].y.toFixed(2));
    const lines = [...points[at].lines, ...alsoAt(points, at)];
    showTip(ring, lines);
    if (!isSpoken) return;
    placeAgain = () => showTip(ring, lines);
    say(lines.filter(Boolean).join(", "));
  };
  const nearest = (event) => {
    const box = drawn.getBoundingClientRect();
    const scale = drawn.viewBox.baseVal.width / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    const far = points.map((point) => Math.hypot(point.x - x, point.y - y));
    const least = Math.min(...far);
    return least < NEAR * scale ? far.indexOf(least) : -1;
  };
  const follow = (event) => {
    if (placeAgain && event.movementX === 0 && event.movementY === 0) return; // the page moved below the pointer
    const at = nearest(event);
    if (at !== current) show(at, false);
    drawn.classList.toggle("pointing", at >= 0 && Boolean(points[at].result));
  };
  const choose = (at) => at >= 0 && points[at].result && openResult(points[at].result);
  drawn.addEventListener("pointermove", follow);
  drawn.addEventListener("pointerdown", follow);
  drawn.addEventListener("pointerleave", () => placeAgain || show(-1, false));
  drawn.addEventListener("blur", () => show(-1, false));
  drawn.addEventListener("click", (event) => choose(nearest(event)));
  drawn.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const place = order.indexOf(current);
    if (event.key === "Escape") show(-1, false);
    else if (event.key === "Enter") choose(current);
    else if (event.key === "Home") show(order[0], true);
    else if (event.key === "End") show(order.at(-1), true);
    else if (step) show(order[place < 0 ? 0 : clamp(place + step, 0, order.length - 1)], true);
    else return;
    event.preventDefault();
  });
  drawn.setAttribute("tabindex", "0");
  drawn.setAttribute("role", "application"); // so that a screen reader leaves the arrow keys to the chart
  drawn.setAttribute("aria-roledescription", "chart, arrow keys go from point to point");
  drawn.append(ring);
  return drawn;
}
