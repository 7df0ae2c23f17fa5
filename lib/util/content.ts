/** Contents of files as bytes, as text and in base64. Pure. */

/** The bytes of a text. */
export function bytesOf(text: string): Buffer {
  return Buffer.from(text);
}

/** The text of bytes. */
export function textOf(bytes: Buffer): string {
  return bytes.toString();
}

/** Bytes in base64. */
export function encodeBase64(bytes: Buffer): string {
  return bytes.toString("base64");
}

/** The bytes of a text in base64, which may have line breaks; undefined if it is none. */
export function decodeBase64(base64: string): Buffer | undefined {
  const compact = base64.replace(/[\r\n]/g, "");
  if (compact.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(compact)) return undefined;
  return Buffer.from(base64, "base64");
}
