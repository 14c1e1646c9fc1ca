// What is wrong with the page that is open for someone who does not see it, or sees it badly: a list of sentences.
// The rules are WCAG 2.2's, of those that a script can judge: 1.3.1, 1.4.3, 2.4.3, 2.4.6, 2.5.8, 3.1.1 and 4.1.2.
const wrong = [];
const named = (e) => `<${e.localName}${e.id ? ` id=${e.id}` : ""}${e.className ? ` class="${e.getAttribute("class")}"` : ""}>`;
const isShown = (e) => e.checkVisibility({visibilityProperty: true, opacityProperty: true});
const all = (selector) => [...document.querySelectorAll(selector)].filter(isShown);

if (!document.documentElement.lang) wrong.push("the page has no language");
if (!document.title.trim()) wrong.push("the page has no title");
if (all("main").length !== 1) wrong.push(`${all("main").length} main landmarks; expected one`);
if (all("h1").length !== 1) wrong.push(`${all("h1").length} first headings; expected one`);

let level = 0;
for (const heading of all("h1, h2, h3, h4, h5, h6")) {
  const own = Number(heading.localName[1]);
  if (own > level + 1) wrong.push(`heading "${heading.textContent.slice(0, 30)}" of level ${own} after level ${level}`);
  if (!heading.textContent.trim()) wrong.push(`${named(heading)} is empty`);
  level = own;
}

const ids = new Set();
for (const {id} of document.querySelectorAll("[id]")) {
  if (ids.has(id)) wrong.push(`two elements have the id ${id}`);
  ids.add(id);
}
for (const name of ["aria-labelledby", "aria-describedby", "aria-controls", "aria-owns", "aria-activedescendant", "for"]) {
  for (const e of document.querySelectorAll(`[${name}]`)) {
    for (const id of e.getAttribute(name).split(/\s+/).filter(Boolean)) {
      if (!ids.has(id)) wrong.push(`${named(e)}: ${name} names ${id}, which is not there`);
    }
  }
}

const controls = "a[href], button, input, select, textarea, summary, [tabindex], [role=button], [role=tab], [role=slider]";
for (const e of all(controls)) {
  if (e.tabIndex > 0) wrong.push(`${named(e)} jumps the queue with tabindex ${e.tabIndex}`);
  if (e.tabIndex === 0 && !e.textContent.trim() && !e.matches("[role], input, select, textarea, button, a, canvas")) wrong.push(`${named(e)} takes the focus and has no name`);
  if (e.closest("[aria-hidden=true]")) wrong.push(`${named(e)} takes the focus and is hidden from screen readers`);
  if (e.parentElement.closest("button, a[href]")) wrong.push(`${named(e)} is a control within a control`);
  const box = e.getBoundingClientRect();
  const isTarget = e.matches("a, button, input, select, textarea, summary, [role]") && getComputedStyle(e).display !== "inline";
  if (isTarget && e.tabIndex >= 0 && (box.width < 24 || box.height < 24) && !e.labels?.length) {
    wrong.push(`${named(e)} "${e.textContent.trim().slice(0, 20)}" is ${box.width.toFixed()} × ${box.height.toFixed()} px; expected 24 × 24`);
  }
}
for (const e of all("canvas, img, svg")) {
  const isOrnament = e.closest("[aria-hidden=true]") || e.getAttribute("role") === "presentation" || e.alt === "";
  const isWithinNamed = e.closest("button, a[href]");
  const hasName = e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.alt || e.textContent.trim();
  if (!isOrnament && !isWithinNamed && !hasName) wrong.push(`${named(e)} is a picture without a name`);
}
for (const table of all("table")) {
  if (table.getAttribute("role") !== "presentation" && !table.querySelector("th")) wrong.push(`${named(table)} has no headers`);
}

// Contrast. A canvas of one pixel turns any way to write a colour into red, green and blue.
const pixel = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d", {willReadFrequently: true});
const rgba = (colour) => {
  pixel.clearRect(0, 0, 1, 1);
  pixel.fillStyle = colour;
  pixel.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = pixel.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = (top, below) => below.map((value, i) => (i < 3 ? top[i] * top[3] + value * (1 - top[3]) : 1));
const behind = (e) => {
  const layers = [];
  for (let at = e; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches && getComputedStyle(document.documentElement).colorScheme.includes("dark");
  return layers.reverse().reduce((below, top) => over(top, below), isDark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
};
const luminance = (colour) => {
  const [r, g, b] = colour.slice(0, 3).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const faint = new Map();
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const e = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim() || !isShown(e) || e.closest("script, style, :disabled, [aria-disabled=true], option")) continue;
  const style = getComputedStyle(e), ground = behind(e);
  const [light, dark] = [luminance(over(rgba(style.color), ground)), luminance(ground)].sort((a, b) => b - a);
  const ratio = (light + 0.05) / (dark + 0.05);
  const size = parseFloat(style.fontSize), isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  if (ratio < (isLarge ? 3 : 4.5)) faint.set(named(e), `${named(e)} "${texts.currentNode.data.trim().slice(0, 20)}" has a contrast of ${ratio.toFixed(2)}`);
}
return [...wrong, ...faint.values()];
