function isOther(before, names) {
  return names.some((name) => JSON.stringify(before[name]) !== JSON.stringify(view[name]));
}

function render(before) {
  hideTip();
  if (!page.results.length) return;
  if (isOther(before, ["filters"])) refreshFilters();
  if (isOther(before, ["filters", "sort", "direction", "open"])) refreshTable();
  if (isOther(before, ["filters"])) {
    refreshGrowth();
    refreshRoofline();
    drawAll();
  }
}

// Links to what there is.
function fillSections() {
  const there = [...document.querySelectorAll("main > section")].filter((section) => !section.hidden);
  const names = { compared: "Baseline", results: "Results", growth: "Growth", roofline: "Roofline", machine: "Machine" };
  byId("sections").replaceChildren(...there.map(({ id }) => el("a", { href: `#${id}` }, names[id])));
}

function restore() {
  const before = { ...view };
  Object.assign(view, readFragment());
  render(before);
}

async function tellReady() {
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  performance.mark("attn-drawn");
  document.documentElement.dataset.ready = "true";
}

function start() {
  fillHeader();
  buildDoubts();
  buildCompared();
  if (page.results.length) buildResults();
  buildMachine();
  watchers.push(render);
  window.addEventListener("hashchange", restore);
  window.addEventListener("scroll", onScroll, { passive: true, capture: true });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
  const nothing = { sort: null, direction: null, open: undefined, filters: null };
  Object.assign(view, readFragment());
  render(nothing);
  fillSections();
  tellReady();
}

try {
  start();
} catch (error) {
  tellTrouble(`This page could not be drawn: ${error.message}`);
}
