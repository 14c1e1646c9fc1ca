// Text from data enters the page only as text nodes, and styles only through the CSSOM: the policy in the head allows no other way.

function byId(id) {
  return document.getElementById(id);
}

function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A token or a name out of a file: its writing direction must not reach its neighbours.
function isolated(text, className) {
  return el("bdi", { class: className ? `token ${className}` : "token" }, text);
}

function labelChip(label) {
  return el("span", { class: "label", "data-label": label }, label);
}

function option(value, text, isChosen) {
  return el("option", { value, selected: isChosen }, text);
}

function choice(id, text, options, onchange) {
  const select = el("select", { id, onchange: () => onchange(select.value) }, options);
  return el("label", { class: "choice", for: id }, el("span", {}, text), select);
}

function button(text, attributes, onclick) {
  return el("button", { type: "button", ...attributes, onclick }, text);
}

// Work asked for several times before the next frame is done once.
function oncePerFrame(work) {
  let isAsked = false;
  return () => {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => {
      isAsked = false;
      work();
    });
  };
}

function afterPause(milliseconds, work) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
}

function say(text) {
  byId("live").textContent = text;
}

function tellTrouble(text) {
  const place = byId("trouble");
  place.textContent = text;
  place.hidden = false;
}
