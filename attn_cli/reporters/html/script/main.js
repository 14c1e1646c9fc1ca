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
    if (before.view === "head") leaveHead();
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

function leaveHead() {
  const tileOfHead = document.querySelector("#tiles .tile[tabindex='0']");
  if (tileOfHead) tileOfHead.focus({ preventScroll: false });
}

function failed(error) {
  tellTrouble(`This page could not be drawn: ${error.message}`);
}

function restore() {
  const { hasCursor, ...wanted } = readFragment();
  const before = { ...state };
  Object.assign(state, wanted);
  if (state.view === "head" && !hasCursor && headAt(openedPlace())) Object.assign(state, cursorAt(openedPlace()));
  keepInside();
  render(before, "history");
}

function repaint() {
  showOverview();
  if (state.view === "head" && shown.first) showOpened().catch(failed);
}

function watchTheme() {
  darkScreen.addEventListener("change", repaint);
  window.addEventListener("beforeprint", () => {
    isPrinting = true;
    repaintTiles();
    for (const picture of pictures) picture.draw();
  });
  window.addEventListener("afterprint", () => {
    isPrinting = false;
    repaintTiles();
    redrawPictures();
  });
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
