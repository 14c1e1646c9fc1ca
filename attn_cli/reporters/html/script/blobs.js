function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function bytesOf(blob) {
  const packed = fromBase64(blob.b ?? byId(`blob-${blob.at}`).textContent);
  const bytes = blob.z ? await inflated(packed) : packed;
  if (bytes.length !== blob.n) throw new Error(`found ${bytes.length} bytes where the page says ${blob.n}: the file is damaged`);
  return bytes;
}

async function inflated(packed) {
  const stream = new DecompressionStream("deflate-raw");
  const writer = stream.writable.getWriter();
  const isWritten = writer.write(packed).then(() => writer.close());
  const [parts] = await Promise.all([allOf(stream.readable.getReader()), isWritten]);
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

async function allOf(reader) {
  const parts = [];
  for (let got = await reader.read(); !got.done; got = await reader.read()) parts.push(got.value);
  return parts;
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

// Exact weights, and which of their keys are masked (1) or visible (0). Where no bytes of their own say so, the sign bits
// do: also of a 0, of a NaN, and of the weight that a finite mask value leaves to a masked key.
async function weightsOf(blob, mask) {
  if (blob === null || blob === undefined) return null;
  const bytes = await bytesOf(blob);
  const values = floatsIn(bytes);
  if (mask) return { values, hidden: await bytesOf(mask) };
  return { values: values.map(Math.abs), hidden: Uint8Array.from(values, (_, i) => bytes[4 * i + 3] >> 7) };
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
