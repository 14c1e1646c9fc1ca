// From numbers to pixels, and the ticks of an axis.

function linearScale([low, high], [from, to]) {
  const width = high - low || 1;
  return (value) => from + ((value - low) / width) * (to - from);
}

function logScale([low, high], [from, to]) {
  const scale = linearScale([Math.log(low), Math.log(high)], [from, to]);
  return (value) => scale(Math.log(value));
}

// Somewhat more than what is there, so that nothing lies on the frame.
function widened(values, share) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const factor = Math.max((high / low) ** share, 1.12);
  return [low / factor, high * factor];
}

// 1, 2 or 5 times a power of ten, about so many.
function linearTicks([low, high], most) {
  const rough = (high - low) / most || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough * 0.999);
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high * (1 + 1e-12); at += 1) ticks.push(Number((at * step).toPrecision(12)));
  return ticks;
}

// Powers of the base; of ten also 2 and 5 times these, where there would be too few.
function logTicks([low, high], base, most) {
  const from = Math.floor(Math.log(low) / Math.log(base) - 1e-9);
  const to = Math.ceil(Math.log(high) / Math.log(base) + 1e-9);
  const powers = Array.from({ length: to - from + 1 }, (_, at) => base ** (from + at));
  const inside = (ticks) => ticks.filter((tick) => tick >= low * 0.9999 && tick <= high * 1.0001);
  const finer = base === 10 ? [[1, 2, 5], [1, 3], [1]] : [[1]];
  const found = finer.map((factors) => inside(powers.flatMap((one) => factors.map((factor) => factor * one)))).find((ticks) => ticks.length <= most);
  const ticks = found || inside(powers);
  const step = Math.ceil(ticks.length / most);
  if (ticks.length < 2 && base === 10) return linearTicks([low, high], 4).filter((tick) => tick > 0);
  return ticks.filter((_, at) => at % step === 0);
}

// Lengths that were measured are the ticks, but for those too near to the one before.
function apart(values, scale, least) {
  const kept = [];
  for (const value of values) if (!kept.length || Math.abs(scale(value) - scale(kept.at(-1))) >= least) kept.push(value);
  return kept;
}
