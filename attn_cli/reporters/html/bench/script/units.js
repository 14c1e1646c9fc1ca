// Numbers in a few characters.

const UNKNOWN = "–";
const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

// Three digits: 0.0123, 1.23, 123.
function short(value) {
  if (!isNumber(value)) return UNKNOWN;
  if (value === 0) return "0";
  const places = 2 - Math.floor(Math.log10(Math.abs(value)));
  return places > 6 || places < -5 ? tiny(value) : value.toFixed(Math.max(0, places));
}

function tiny(value) {
  return value.toExponential(1).replace("e+", "e").replaceAll("-", "−");
}

function percent(share) {
  if (!isNumber(share)) return UNKNOWN;
  return `${(share * 100).toFixed(Math.abs(share) < 0.0995 ? 1 : 0)} %`;
}

function byteSize(count) {
  if (!isNumber(count)) return UNKNOWN;
  const unit = count < 999.5 ? 0 : Math.min(BYTES.length - 1, Math.floor(Math.log(count / 999.5) / Math.log(1024)) + 1);
  return unit === 0 ? `${Math.round(count)} B` : `${short(count / 1024 ** unit)} ${BYTES[unit]}`;
}

function perSecond(value, unit) {
  if (!isNumber(value)) return UNKNOWN;
  const [factor, prefix] = [[1e12, "T"], [1e9, "G"], [1e6, "M"]].find(([least]) => value >= least) || [1e6, "M"];
  return `${short(value / factor)} ${prefix}${unit}`;
}

function duration(ms) {
  if (!isNumber(ms)) return UNKNOWN;
  if (ms >= 10000) return `${(ms / 1000).toFixed(1)} s`;
  return ms >= 0.9995 ? `${ms.toFixed(ms >= 99.95 ? 0 : ms >= 9.995 ? 1 : 2)} ms` : `${short(ms * 1000)} µs`;
}

function errorSize(value) {
  if (!isNumber(value)) return UNKNOWN;
  return value === 0 ? "0" : tiny(value);
}

function power(exponent) {
  return isNumber(exponent) ? `length^${exponent.toFixed(2)}` : UNKNOWN;
}

function ratioText(value) {
  return isNumber(value) ? value.toFixed(3) : UNKNOWN;
}

// The ticks of an axis are round.
function trimmed(text) {
  return text.replace(/(\.\d*?)0+(?= |$)/, "$1").replace(/\.(?= |$)/, "");
}
