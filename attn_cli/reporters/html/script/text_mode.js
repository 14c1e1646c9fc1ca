// The sentence: choose a token, and see where each head looks from there.

const TOKENS_SHOWN = 240; // around the cursor; a long text needs no element for each of its tokens
const HEADS_LISTED = 32;

class TextMode {
  constructor() {
    this.sentence = el("div", { class: "sentence", id: "sentence", role: "listbox", "aria-label": "Tokens", "aria-orientation": "horizontal", onkeydown: (event) => this.move(event), onclick: (event) => this.choose(event) });
    this.heads = el("div", { class: "looks", id: "looks" });
    this.words = el("p", { class: "muted" });
    this.room = el("section", { class: "card text-mode", id: "text", "aria-label": "Text" }, el("h2", {}, "Text"), this.words, this.sentence, this.heads);
    this.shown = "";
  }

  show(data) {
    const { call, place } = data;
    const known = tokensOf(call, place.batch);
    this.room.hidden = !known;
    if (!known) return;
    const tokens = known.slice(0, call.keys);
    this.data = data;
    const focus = this.focusKey();
    const first = clamp(focus - TOKENS_SHOWN / 2, 0, Math.max(0, tokens.length - TOKENS_SHOWN));
    const key = `${place.call} ${place.batch} ${first}`;
    if (key !== this.shown) this.write(tokens, first);
    this.shown = key;
    this.colour();
    this.words.replaceChildren(...this.explanation());
    this.list();
  }

  // The key that stands for the cursor: the query's own token where queries are keys.
  focusKey() {
    const place = this.data.call.queries_are_keys ? placeOfRow(this.data.call, state.row) : null;
    return Math.max(0, place ?? state.key);
  }

  write(tokens, first) {
    const part = tokens.slice(first, first + TOKENS_SHOWN);
    const spans = part.map((token, at) => el("bdi", { class: "word", role: "option", "data-token": first + at, tabindex: -1 }, token));
    const more = (count, where) => count > 0 && el("span", { class: "muted more" }, `… ${counted(count, "token")} ${where}`);
    this.sentence.replaceChildren(...[more(first, "before"), ...spans, more(tokens.length - first - part.length, "after")].filter(Boolean));
  }

  colour() {
    const focus = this.focusKey();
    for (const word of this.sentence.querySelectorAll(".word")) {
      const key = Number(word.dataset.token);
      const cell = this.data.at(state.row, key);
      word.className = `word is-${cell.state}`;
      const parts = cell.state === "weight" ? mixed(SEQUENTIAL[theme()], Math.sqrt(Math.max(0, cell.weight) / state.top)) : null;
      word.style.backgroundColor = parts ? rgb(parts) : "";
      word.style.color = parts ? inkOn(parts) : "";
      word.setAttribute("aria-selected", key === focus);
      word.setAttribute("aria-label", `${key} ${word.textContent}, ${weightWords(cell)}`);
      word.tabIndex = key === focus ? 0 : -1;
    }
  }

  explanation() {
    const { call, place } = this.data;
    const token = queryToken(call, place.batch, state.row);
    const what = token === null ? [`Query ${wholeNumber(queryNumber(call, state.row))}`] : [isolated(token), ` (query ${wholeNumber(queryNumber(call, state.row))})`];
    const how = call.queries_are_keys ? " Click a token, or use the arrow keys, to look from it." : " These are the keys; the queries have no tokens.";
    const { rows } = this.data.row(state.row);
    const pool = rows[1] - rows[0] > 1 ? ` What is marked ≈ is the largest of ${queriesWords(call, rows)}, not of this query alone.` : "";
    return [...what, ` looks at the coloured tokens in head ${call.head_numbers[place.head]}.`, how, pool];
  }

  choose(event) {
    const word = event.target.closest(".word");
    if (word) this.lookFrom(Number(word.dataset.token));
  }

  lookFrom(key) {
    const { call } = this.data;
    const row = call.queries_are_keys ? rowOfPlace(call, key) : state.row;
    if (row < 0) say(`No query stands at token ${key}.`);
    else moveCursor(row, call.queries_are_keys ? state.key : key, "text");
    const word = this.sentence.querySelector("[aria-selected=true]");
    if (word) word.focus();
  }

  move(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.lookFrom(clamp(this.focusKey() + step, 0, this.data.call.keys - 1));
  }

  // Each head of the call: a strip of its row, and the key it looks at most.
  async list() {
    const { call, place } = this.data;
    const row = state.row;
    const heads = call.head_numbers.slice(0, HEADS_LISTED).map((_, head) => ({ ...place, head })).filter(headAt);
    const data = await Promise.all(heads.map(headData));
    if (row !== state.row || !samePlace(this.data.place, place)) return;
    if (this.heads.childElementCount !== data.length || this.heads.dataset.of !== `${place.call} ${place.batch}`) this.heads.replaceChildren(...heads.map(lookButton));
    this.heads.dataset.of = `${place.call} ${place.batch}`;
    data.forEach((one, at) => fillLook(this.heads.children[at], one, row, samePlace(one.place, place)));
  }
}

function lookButton(place) {
  return el("button", { type: "button", class: "look", "data-head": place.head, onclick: () => openHead(place) },
    el("b", {}, `H${callAt(place).head_numbers[place.head]}`), el("canvas", { class: "strip hatched", height: 1, width: 1, "aria-hidden": "true" }), el("span", { class: "most" }));
}

function fillLook(item, data, row, isOpen) {
  const { values } = data.row(row);
  const codes = Uint8Array.from(values, (value) => (value === HIDDEN ? MASKED : codeOf(value)));
  const across = Math.ceil(codes.length / 256);
  const level = pooled(codes, 1, codes.length, 1, across, BY_CODE);
  const canvas = item.querySelector("canvas");
  canvas.width = level.columns;
  canvas.getContext("2d").drawImage(painted(level.codes, 1, level.columns, "weights"), 0, 0);
  item.querySelector(".most").replaceChildren(...(values.some(Number.isNaN) ? ["NaN"] : mostWords(data, strongestOf(data, row))));
  item.setAttribute("aria-current", isOpen ? "true" : "false");
}

// The key that a row looks at most. Where the row is pooled with its neighbours, it is that of all of them, marked so.
function mostWords({ call, place }, found) {
  if (!found) return ["nothing"];
  const { key, keys, rows, weight, isExact } = found;
  const name = keys > 1 ? [span(key, Math.min(key + keys, call.keys))] : nameOf(wholeNumber(key), keyToken(call, place.batch, key));
  const value = el("span", { class: "value" }, isExact ? digits(weight, 3) : `≈ ${digits(weight, 2)}`);
  const whose = rows[1] - rows[0] > 1 && el("small", { class: "whose" }, ` of ${queriesWords(call, rows)}`);
  return [...name, " ", value, whose].filter(Boolean);
}

function queriesWords(call, [first, behind]) {
  return `queries ${span(queryNumber(call, first), queryNumber(call, behind - 1) + 1)}`;
}

// What a pooled cell of a row stands for.
function poolWords({ call }, { rows, key, keys }) {
  const queries = rows[1] - rows[0] > 1 ? [queriesWords(call, rows)] : [];
  return [...queries, keys > 1 ? `keys ${span(key, Math.min(key + keys, call.keys))}` : `key ${wholeNumber(key)}`].join(" and ");
}

// The largest weight of a row: its key, or the first of so many keys that share a cell; null where no weight is above 0.
function strongestOf(data, row) {
  const { values, step, rows, isExact } = data.row(row);
  const weight = largestIn(values);
  return weight > 0 ? { key: values.indexOf(weight) * step, keys: step, rows, weight, isExact } : null;
}
