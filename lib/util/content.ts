/**
 * Contents of files, each kept once: in a mesh of hundreds of clusters the same certificates and configs stand in every
 * one of them. Pure.
 */

const buffers = new Map<string, Buffer>();
const decodings = new Map<string, { base64: string; bytes: Buffer | undefined }>();
const encodings = new WeakMap<Buffer, string>();
const texts = new WeakMap<Buffer, string>();

/** The bytes of a text; the same buffer for the same text, not to be written to. */
export function bytesOf(text: string): Buffer {
  const known = buffers.get(text) ?? Buffer.from(text);
  buffers.set(text, known);
  return known;
}

/** The text of bytes; the same string for the same buffer. */
export function textOf(bytes: Buffer): string {
  const known = texts.get(bytes) ?? bytes.toString();
  texts.set(bytes, known);
  return known;
}

/** Bytes in base64; the same string for the same buffer. */
export function encodeBase64(bytes: Buffer): string {
  const known = encodings.get(bytes) ?? bytes.toString("base64");
  encodings.set(bytes, known);
  return known;
}

/** The bytes of a text in base64, undefined where it is none; the same buffer for the same text, not to be written to. */
export function decodeBase64(base64: string): Buffer | undefined {
  return decoding(base64).bytes;
}

/** Puts in place of each value, in base64, the equal one that is kept already. */
export function internBase64Values(data: Record<string, string>): void {
  for (const [key, value] of Object.entries(data)) if (typeof value === "string") data[key] = decoding(value).base64;
}

function decoding(base64: string): { base64: string; bytes: Buffer | undefined } {
  const known = decodings.get(base64) ?? {
    base64,
    bytes: isBase64(base64) ? Buffer.from(base64, "base64") : undefined,
  };
  decodings.set(base64, known);
  return known;
}

function isBase64(value: string): boolean {
  const compact = value.replace(/[\r\n]/g, "");
  return compact.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(compact);
}
