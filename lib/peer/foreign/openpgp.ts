/** Whether bytes are an encrypted OpenPGP message. Pure. */

/** Packets that an encrypted message begins with (RFC 9580, 10.3), and the versions of each that there are. */
const VERSIONS: Readonly<Record<number, readonly number[]>> = {
  // Public-key and symmetric-key encrypted session keys.
  1: [2, 3, 6],
  3: [4, 5, 6],
  // Encrypted data with integrity protection, which may appear without a session key: 18, and LibrePGP's 20.
  18: [1, 2],
  20: [1],
};

/**
 * Recognizes a message by the header of its first packet, as `gpg --encrypt` and `gpg --symmetric` write it: tag, length
 * and version. Tag 9, which has no version, is not included: only old PGP begins with it.
 */
export function isOpenPgpMessage(bytes: Buffer): boolean {
  const header = readHeader(bytes);
  if (!header) return false;
  const { tag, start, length } = header;
  const version = bytes[start];
  if (version === undefined || !VERSIONS[tag]?.includes(version)) return false;
  return length === "unknown" || (length > 1 && start + length <= bytes.length);
}

/** RFC 9580, 4.2. */
function readHeader(bytes: Buffer): { tag: number; start: number; length: number | "unknown" } | undefined {
  const [first = 0, one = 0] = bytes;
  if (bytes.length < 8 || (first & 0x80) === 0) return undefined;
  if ((first & 0x40) === 0) {
    const tag = (first >> 2) & 0x0f;
    const size = [1, 2, 4][first & 0x03];
    // Of indeterminate length are only compressed and encrypted data.
    if (size === undefined) return undefined;
    return { tag, start: 1 + size, length: bytes.readUIntBE(1, size) };
  }
  const tag = first & 0x3f;
  if (one < 192) return { tag, start: 2, length: one };
  if (one < 224) return { tag, start: 3, length: ((one - 192) << 8) + bytes.readUInt8(2) + 192 };
  if (one === 255) return { tag, start: 6, length: bytes.readUInt32BE(2) };
  return { tag, start: 2, length: "unknown" };
}
