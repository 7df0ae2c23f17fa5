/** Recognizes encrypted OpenPGP messages. Pure. */

/** The possible first packets of an encrypted message (RFC 9580, section 10.3) by tag, with their versions. */
const PACKET_VERSIONS: Readonly<Record<number, readonly number[]>> = {
  // Public-key and symmetric-key encrypted session keys.
  1: [2, 3, 6],
  3: [4, 5, 6],
  // Encrypted data with integrity protection, which may have no session key packet: 18, and LibrePGP's 20.
  18: [1, 2],
  20: [1],
};

/**
 * Whether bytes are a message as written by `gpg --encrypt` or `gpg --symmetric`, by tag, length and version of the
 * first packet. Tag 9, which has no version, is not included: only old versions of PGP write it first.
 */
export function isOpenPgpMessage(bytes: Buffer): boolean {
  const header = parseHeader(bytes);
  if (!header) return false;
  const { tag, start, length } = header;
  const version = bytes[start];
  if (version === undefined || !PACKET_VERSIONS[tag]?.includes(version)) return false;
  return length === "unknown" || (length > 1 && start + length <= bytes.length);
}

/** Parses a packet header (RFC 9580, section 4.2); undefined if the bytes are not one. */
function parseHeader(bytes: Buffer): { tag: number; start: number; length: number | "unknown" } | undefined {
  const [first = 0, one = 0] = bytes;
  if (bytes.length < 8 || (first & 0x80) === 0) return undefined;
  if ((first & 0x40) === 0) {
    const tag = (first >> 2) & 0x0f;
    const size = [1, 2, 4][first & 0x03];
    // Only compressed and encrypted data may have an indeterminate length.
    if (size === undefined) return undefined;
    return { tag, start: 1 + size, length: bytes.readUIntBE(1, size) };
  }
  const tag = first & 0x3f;
  if (one < 192) return { tag, start: 2, length: one };
  if (one < 224) return { tag, start: 3, length: ((one - 192) << 8) + bytes.readUInt8(2) + 192 };
  if (one === 255) return { tag, start: 6, length: bytes.readUInt32BE(2) };
  return { tag, start: 2, length: "unknown" };
}
