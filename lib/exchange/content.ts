/**
 * Contents of files, each kept once: in a mesh of hundreds of clusters the same certificates and configs are written into
 * every one of them. Pure.
 */

const buffers = new Map<string, Buffer>();
const encodings = new WeakMap<Buffer, string>();

/** The bytes of a text; the same buffer for the same text, not to be written to. */
export function bytesOf(text: string): Buffer {
  const known = buffers.get(text) ?? Buffer.from(text);
  buffers.set(text, known);
  return known;
}

/** Bytes in base64; the same string for the same buffer. */
export function encoded(bytes: Buffer): string {
  const known = encodings.get(bytes) ?? bytes.toString("base64");
  encodings.set(bytes, known);
  return known;
}
