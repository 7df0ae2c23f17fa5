/** Conversions between text, bytes and base64, as named functions so that a {@link ParseCache} can share results. Pure. */

/** Encodes a text as UTF-8. */
export function encodeText(text: string): Buffer {
  return Buffer.from(text);
}

/** Decodes UTF-8; invalid bytes become U+FFFD. */
export function decodeText(bytes: Buffer): string {
  return bytes.toString();
}

/** Encodes bytes as base64 without line breaks. */
export function encodeBase64(bytes: Buffer): string {
  return bytes.toString("base64");
}

/** Decodes base64, which may contain line breaks; undefined if invalid. */
export function decodeBase64(base64: string): Buffer | undefined {
  const compact = base64.replace(/[\r\n]/g, "");
  if (compact.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(compact)) return undefined;
  return Buffer.from(base64, "base64");
}
