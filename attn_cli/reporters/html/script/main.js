function isOtherHead(before) {
  return before.view !== state.view || before.top !== state.top || !samePlace(before, state) || !samePlace(before.with || {}, state.with || {});
}

function isOtherOverview(before) {
  return ["view", "sort", "order", "colour", "batch", "top"].some((name) => before[name] !== state[name]);
}

function render(before, by) {
  hideTip();
  const isHead = state.view === "head";
  byId("overview").hidden = isHead;
  byId("opened").hidden = !isHead;
  document.title = isHead ? `${placeName(openedPlace())} · ${page.title}` : page.title;
  if (!isHead) {
    if (isOtherOverview(before) || !byId("tiles")) showOverview();
    if (before.view === "head") leaveHead(before);
    return;
  }
  if (isOtherHead(before)) {
    pointerCell = null;
    showOpened().catch(failed);
    if (before.view !== "head") enterHead(by);
  } else {
    if (shown.first && before.row !== state.row) textMode.show(shown.first);
    refreshCursor();
  }
  setTouch();
  if (by !== "pointer") sayCursor();
}

function enterHead(by) {
  if (by === "history") return;
  window.scrollTo(0, 0);
  first.canvas.focus({ preventScroll: true });
  say(placeName(openedPlace()));
}

// The head that was open takes the focus.
function leaveHead({ call, head }) {
  const known = document.querySelector("#tiles .tile[tabindex='0']");
  const tileOfHead = document.querySelector(`#tiles .tile[data-call="${call}"][data-head="${head}"]`) || known;
  if (!tileOfHead) return;
  if (known) known.tabIndex = -1;
  tileOfHead.tabIndex = 0;
  tileOfHead.focus({ preventScroll: false });
}

function failed(error) {
  tellTrouble(`This page could not be drawn: ${error.message}`);
}

function restore() {
  if (state.view && isPlaceOnPage()) return;
  const { hasCursor, missing, ...wanted } = readFragment();
  const before = { ...state };
  Object.assign(state, wanted);
  if (state.view === "head" && !hasCursor && headAt(openedPlace())) Object.assign(state, cursorAt(openedPlace()));
  keepInside();
  render(before, "history");
  if (missing && missing.length) tellNote(`The link's ${missing.join(" and ")} ${missing.length > 1 ? "are" : "is"} not on this page: what is nearest is shown.`);
}

function repaint() {
  showOverview();
  if (state.view === "head" && shown.first) showOpened().catch(failed);
}

function watchTheme() {
  darkScreen.addEventListener("change", repaint);
  paper.addEventListener("change", repaintForPaper);
  window.addEventListener("beforeprint", () => setPrinting(true));
  window.addEventListener("afterprint", () => setPrinting(false));
}

// The style takes the paper's colours by this mark already before the browser lays out for paper.
function setPrinting(isNow) {
  isPrinting = isNow;
  if (isNow && byId("run")) byId("run").open = true; // what is folded up is not printed
  document.documentElement.toggleAttribute("data-printing", isNow);
  repaintForPaper();
}

// At once: printing waits for nothing.
function repaintForPaper() {
  for (const paint of paperPainters) paint();
}

// A page that a browser saved as it stood holds what the script had written.
function emptyRooms() {
  for (const id of ["subtitle", "overview", "opened", "foot", "live", "tip", "help", "trouble"]) byId(id).replaceChildren();
  for (const name of ["data-ready", "data-printing"]) document.documentElement.removeAttribute(name);
  byId("tip").hidden = true;
  byId("help").open = false;
}

async function firstView() {
  if (state.view === "head") await headData(openedPlace());
  else await tilesSeen;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  performance.mark("attn-drawn");
  document.documentElement.dataset.ready = "true";
  if (state.view === "all") drawTheRest(600);
}

function start() {
  if (!canUnpack()) return tellTrouble("This browser cannot unpack the pictures in this page (it has no DecompressionStream): Chrome 103, Firefox 113 or Safari 16.4 and newer can.");
  emptyRooms();
  fillHeader();
  buildHelp();
  buildOpened();
  onChange(render);
  hoverWatchers.push(refreshCursor);
  document.addEventListener("keydown", onKey);
  window.addEventListener("popstate", restore);
  window.addEventListener("hashchange", restore);
  window.addEventListener("resize", () => pictures.forEach((picture) => picture.resize()));
  watchTheme();
  state.view = "";
  restore();
  firstView().catch(failed);
}

try {
  start();
} catch (error) {
  failed(error);
}
