// Light to dark on paper, dark to light on a dark screen: more weight always stands out more. Both run along blue and
// yellow with lightness that only rises or only falls, so that they read the same with any kind of colour vision.
const SEQUENTIAL = {
  light: ["#fbf9ef", "#f2e9b8", "#c8dca0", "#84c4a4", "#45a3ad", "#2b7fa8", "#2b5a98", "#2c3a7a", "#1b1a48"],
  dark: ["#1b1e2b", "#262f58", "#2b4a86", "#2a6f97", "#2f9391", "#57b580", "#9ccf62", "#e0e05a", "#fff7c2"],
};
const DIVERGING = {
  light: ["#0b3c7c", "#3f7fc0", "#a9cbe8", "#f7f6f2", "#f3bf85", "#cf7420", "#7a3603"],
  dark: ["#9fd0ff", "#4c93d6", "#22517f", "#1d1f27", "#7d481b", "#d9852f", "#ffd19a"],
};
const NAN_COLOUR = { light: "#d4145a", dark: "#ff4d8d" };
const MASKED = 0;
const NAN_CODE = 255;
const STEPS = 253;
const darkScreen = window.matchMedia("(prefers-color-scheme: dark)");
const paper = window.matchMedia("print");
const paperPainters = []; // what repaints at once, for paper, what a script has coloured
let isPrinting = false;

// Paper is light whatever the screen is.
function theme() {
  return darkScreen.matches && !isPrinting && !paper.matches ? "dark" : "light";
}

function channels(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function mixed(anchors, share) {
  const place = clamp(share, 0, 1) * (anchors.length - 1);
  const below = Math.min(Math.floor(place), anchors.length - 2);
  const [low, high] = [channels(anchors[below]), channels(anchors[below + 1])];
  return low.map((value, i) => Math.round(value + (place - below) * (high[i] - value)));
}

// 256 colours as pixels in memory order; masked cells are clear, and what is behind them is hatched.
function colourTable(anchors, name, shareOf) {
  const table = new Uint8ClampedArray(256 * 4);
  for (let code = 1; code < NAN_CODE; code++) table.set([...mixed(anchors, shareOf(code)), 255], code * 4);
  table.set([...channels(NAN_COLOUR[name]), 255], NAN_CODE * 4);
  return new Uint32Array(table.buffer);
}

const colourTables = new Map();

function tableOf(kind) {
  const key = tableKey(kind);
  const anchors = (kind === "difference" ? DIVERGING : SEQUENTIAL)[theme()];
  if (!colourTables.has(key)) colourTables.set(key, colourTable(anchors, theme(), (code) => shareOfCode(code, kind)));
  return colourTables.get(key);
}

function tableKey(kind) {
  return `${kind} ${theme()} ${kind === "difference" ? "" : state.top}`;
}

// How far along its colours a code is: weights from `state.top` on all have the last.
function shareOfCode(code, kind) {
  const share = (code - 1) / STEPS;
  return kind === "difference" ? share : Math.min(1, share / Math.sqrt(state.top));
}

// A bar that runs through colours; it is painted anew for paper.
function ramp(kind) {
  return paintRamp(el("span", { class: "ramp", "aria-hidden": "true", "data-ramp": kind }));
}

function paintRamp(bar) {
  const anchors = (bar.dataset.ramp === "difference" ? DIVERGING : SEQUENTIAL)[theme()];
  bar.style.backgroundImage = `linear-gradient(to right, ${anchors.join(", ")})`;
  return bar;
}

paperPainters.push(() => document.querySelectorAll("[data-ramp]").forEach(paintRamp));

function rgb(parts) {
  return `rgb(${parts.join(" ")})`;
}

function luminance(parts) {
  const [red, green, blue] = parts.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

// Black or white, whichever has more contrast: both have the same to a luminance of 0.179.
function inkOn(parts) {
  return luminance(parts) > 0.179 ? "#000000" : "#ffffff";
}

// A weight of a visible key in 8 bits. What somebody recorded may lie below 0, and is coloured as 0.
function codeOf(weight) {
  return Number.isNaN(weight) ? NAN_CODE : 1 + Math.round(STEPS * Math.sqrt(clamp(weight, 0, 1)));
}

function codesOf({ values, hidden }) {
  return Uint8Array.from(values, (weight, i) => (hidden[i] ? MASKED : codeOf(weight)));
}

function weightOf(code) {
  return ((code - 1) / STEPS) ** 2;
}

function cssColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
