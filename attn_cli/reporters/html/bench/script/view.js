// What is shown: order, filters and the result that is opened, and its spelling in the URL's fragment.

const view = { sort: "", direction: "", open: null, filters: {} };
const watchers = [];

function update(changes) {
  const before = { ...view };
  Object.assign(view, changes);
  writeFragment();
  for (const watcher of watchers) watcher(before);
}

function fragment() {
  const parts = new URLSearchParams(view.filters);
  if (view.sort) parts.set("sort", `${view.sort}.${view.direction}`);
  if (view.open !== null) parts.set("result", view.open);
  return `#${parts}`;
}

// Browsers refuse too many changes of the address in a short time.
const writeFragment = afterPause(200, () => {
  const wanted = fragment();
  if (wanted === (location.hash || "#")) return;
  try {
    history.replaceState(null, "", wanted);
  } catch {
    // where a file may not use the history, the address stays
  }
});

// What a fragment asks for and the page has; all else is left out.
function readFragment() {
  if (location.hash && !location.hash.includes("=")) return { ...view }; // the name of a section
  const parts = new URLSearchParams(location.hash.slice(1));
  const [sort, direction] = (parts.get("sort") || "").split(".");
  const isSorted = COLUMNS.some((column) => column.name === sort) && ["ascending", "descending"].includes(direction);
  const open = Number.parseInt(parts.get("result"), 10);
  const asked = FILTERS.map(({ name }) => [name, parts.get(name)]).filter(([name, value]) => choicesOf(name).some((one) => one.key === value));
  return { sort: isSorted ? sort : "", direction: isSorted ? direction : "", open: page.results[open] ? open : null, filters: Object.fromEntries(asked) };
}
