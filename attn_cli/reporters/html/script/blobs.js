function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function bytesOf(blob) {
  const packed = fromBase64(blob.b);
  const bytes = blob.z ? await inflated(packed) : packed;
  if (bytes.length !== blob.n) throw new Error(`found ${bytes.length} bytes where the page says ${blob.n}: the file is damaged`);
  return bytes;
}

async function inflated(packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function floatsOf(blob) {
  if (blob === null || blob === undefined) return null;
  return floatsIn(await bytesOf(blob));
}

function floatsIn(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const values = new Float32Array(bytes.length / 4);
  for (let i = 0; i < values.length; i++) values[i] = view.getFloat32(4 * i, true);
  return values;
}

// Exact weights, whose sign bit says masked; a NaN would lose that bit, so that a masked NaN becomes a masked 0.
async function weightsOf(blob) {
  if (blob === null || blob === undefined) return null;
  const bytes = await bytesOf(blob);
  const values = floatsIn(bytes);
  for (let i = 0; i < values.length; i++) if (Number.isNaN(values[i]) && bytes[4 * i + 3] >= 128) values[i] = -0;
  return values;
}

function canUnpack() {
  try {
    return Boolean(new DecompressionStream("deflate-raw"));
  } catch {
    return false;
  }
}

// The latest few results of an asynchronous function; a head's numbers may be large, and seldom more than two are open.
function remembered(most, make) {
  const kept = new Map();
  return (key, ...given) => {
    const found = kept.get(key) || make(key, ...given);
    kept.delete(key);
    kept.set(key, found);
    if (kept.size > most) kept.delete(kept.keys().next().value);
    found.catch(() => kept.delete(key));
    return found;
  };
}
