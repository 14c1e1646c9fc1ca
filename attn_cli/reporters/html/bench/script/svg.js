// Pieces of charts. Colours and strokes stand in the style sheet, by class.

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, typeof value === "number" ? Number(value.toFixed(2)) : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A whole drawing; its words stand for it where it is not seen.
function drawing(width, height, words, attributes, ...children) {
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "drawing", role: "img", "aria-label": words, ...attributes }, children);
}

function line(x1, y1, x2, y2, className) {
  return svg("line", { x1, y1, x2, y2, class: className });
}

function words(x, y, text, className, anchor) {
  return svg("text", { x, y, class: className, "text-anchor": anchor }, text);
}

function path(points, className) {
  return svg("path", { d: points.map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`).join(""), class: className });
}

function polygon(corners, turn) {
  return Array.from({ length: corners }, (_, at) => {
    const angle = turn + (at * 2 * Math.PI) / corners;
    return [Math.cos(angle), Math.sin(angle)];
  });
}

const UP = -Math.PI / 2;
const ARM = 0.36;
const PLUS = [[-ARM, -1], [ARM, -1], [ARM, -ARM], [1, -ARM], [1, ARM], [ARM, ARM], [ARM, 1], [-ARM, 1], [-ARM, ARM], [-1, ARM], [-1, -ARM], [-ARM, -ARM]];
const turned = (points) => points.map(([x, y]) => [(x - y) * Math.SQRT1_2, (x + y) * Math.SQRT1_2]);
const MARKS = [
  polygon(24, 0), polygon(4, Math.PI / 4), polygon(3, UP), polygon(4, 0), polygon(3, -UP),
  PLUS, turned(PLUS), polygon(3, 0), polygon(3, Math.PI), polygon(6, 0),
];
const SIZES = [0.92, 1.15, 1.2, 1.2, 1.2, 1.1, 1.1, 1.2, 1.2, 1.1];

// A backend's mark; hollow where its result is wrong or was not compared.
function mark(x, y, series, radius, isHollow) {
  const reach = radius * SIZES[series];
  const points = MARKS[series].map(([dx, dy]) => `${(x + dx * reach).toFixed(2)},${(y + dy * reach).toFixed(2)}`).join(" ");
  return svg("polygon", { points, class: `mark s${series}${isHollow ? " hollow" : ""}` });
}

function glyph(backend, isHollow) {
  return svg("svg", { viewBox: "0 0 14 14", width: 14, height: 14, class: "glyph", "aria-hidden": "true" }, mark(7, 7, seriesOf(backend), 5, isHollow));
}
