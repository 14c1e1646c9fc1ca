function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

function digits(value, count) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-4 || size >= 1e6) ? value.toExponential(Math.max(0, count - 1)) : plain(value, count);
  return text.replaceAll("-", "−").replace("e+", "e");
}

function plain(value, count) {
  if (Number.isInteger(value)) return String(value);
  const power = Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(clamp(count - 1 - power, 0, count + 2));
}

function wholeNumber(value) {
  return value.toLocaleString("en-US");
}

function counted(number, noun) {
  return `${wholeNumber(number)} ${noun}${number === 1 ? "" : "s"}`;
}

function span(first, behind) {
  return behind - first <= 1 ? wholeNumber(first) : `${wholeNumber(first)}–${wholeNumber(behind - 1)}`;
}

// 1, 2 or 5 times a power of ten, so that at most `most` steps fit.
function niceStep(range, most) {
  const rough = Math.max(range / Math.max(1, most), 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  return Math.max(1, Math.round(step));
}

function unitText(unit) {
  return unit === "1" || unit === "" || unit === "ratio" ? "" : unit;
}
