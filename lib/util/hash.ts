/** Hashes by which a change is recognized. Pure. */
import { createHash } from "node:crypto";

/** Returns 32 bits of the SHA-256 of a text. */
export function hashText(text: string): number {
  return createHash("sha256").update(text).digest().readInt32BE();
}
