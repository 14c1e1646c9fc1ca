// Which results are shown: a list of choices for everything that has several.

const FILTERS = [
  { name: "backend", title: "backend", key: (one) => one.backend },
  { name: "status", title: "status", key: (one) => one.status },
  ...PARTS.map((part) => ({ name: part.name, title: part.title, key: (one) => (part.cell ? part.cell(one) : String(part.value(one))), isOfCase: true })),
].filter((filter) => choicesIn(filter).length > 1);

function choicesIn(filter) {
  return distinct(page.results.map(filter.key)).map((key) => ({ key, count: page.results.filter((one) => filter.key(one) === key).length }));
}

function choicesOf(name) {
  const filter = FILTERS.find((one) => one.name === name);
  return filter ? choicesIn(filter) : [];
}

function passes(one, filters = FILTERS) {
  return filters.every((filter) => view.filters[filter.name] === undefined || filter.key(one) === view.filters[filter.name]);
}

function shownResults() {
  return page.results.filter((one) => passes(one));
}

// A series has every length, and no status: it goes by what else is chosen.
function shownGrowth() {
  return page.growth.filter((one) => passes(one, FILTERS.filter(({ name }) => name !== "lengths" && name !== "status")));
}

function filterTools() {
  const selects = FILTERS.map((filter) => {
    const options = choicesIn(filter).map(({ key, count }) => option(key, `${key} (${count})`, view.filters[filter.name] === key));
    return choice(`filter-${filter.name}`, filter.title, [option("", "all", view.filters[filter.name] === undefined), ...options], (value) => setFilter(filter.name, value));
  });
  return [...selects, el("span", { id: "shown-count", class: "muted" }), button("show all", { id: "clear", hidden: true }, () => update({ filters: {} }))];
}

function setFilter(name, value) {
  const { [name]: _, ...others } = view.filters;
  update({ filters: value ? { ...others, [name]: value } : others });
}

function refreshFilters() {
  for (const { name } of FILTERS) byId(`filter-${name}`).value = view.filters[name] ?? "";
  const count = shownResults().length;
  const text = count === page.results.length ? counted(count, "result") : `${count} of ${counted(page.results.length, "result")}`;
  if (byId("shown-count").textContent !== text) {
    byId("shown-count").textContent = text;
    say(`${text} shown`);
  }
  byId("clear").hidden = Object.keys(view.filters).length === 0;
}
