/** Codecs between facts and the texts of annotations. Pure. */

/** The prefix of our annotations. */
export const ANNOTATION_PREFIX = "clustermesh-secrets/";

export interface Codec<T> {
  /** Formats a value. */
  write(value: T): string;
  /** Parses a text; undefined if it is invalid. */
  read(text: string): T | undefined;
}

/** For each fact, its annotation without the prefix, and the codec of its value. */
export type FactTable<T> = { [K in keyof T]-?: [annotation: string, codec: Codec<NonNullable<T[K]>>] };

/** Any text except the empty one. */
export const textCodec: Codec<string> = { write: (value) => value, read: (value) => value || undefined };

/** A decimal number of at most nine digits. */
export const integerCodec: Codec<number> = {
  write: String,
  read: (value) => (/^\d{1,9}$/.test(value) ? Number(value) : undefined),
};

/** `true` or `false`. */
export const booleanCodec: Codec<boolean> = {
  write: String,
  read: (value) => (value === "true" ? true : value === "false" ? false : undefined),
};

/** A comma-separated list. */
export const textListCodec: Codec<string[]> = {
  write: (value) => value.join(","),
  read: (value) => value.split(",").filter((part) => part !== ""),
};

/** One of the given texts. */
export const oneOfCodec = <T extends string>(...values: T[]): Codec<T> => ({
  write: (value) => value,
  read: (value) => values.find((one) => one === value),
});

/** Formats facts as annotations, in the order of the table. Unknown facts are omitted. */
export function encodeFacts<T extends object>(table: FactTable<T>, facts: T): Record<string, string> {
  const annotations: Record<string, string> = {};
  for (const fact of Object.keys(table) as (keyof T)[]) {
    const [name, codec] = table[fact] as [string, Codec<unknown>];
    const value = facts[fact];
    if (value !== undefined) annotations[ANNOTATION_PREFIX + name] = codec.write(value);
  }
  return annotations;
}

/** Reads facts from annotations, whose values may be anything. Missing and invalid facts are absent. */
export function decodeFacts<T extends object>(
  table: FactTable<T>,
  annotations: Readonly<Record<string, string>>,
): Partial<T> {
  const facts: Partial<Record<keyof T, unknown>> = {};
  for (const fact of Object.keys(table) as (keyof T)[]) {
    const [name, codec] = table[fact] as [string, Codec<unknown>];
    const value = annotations[ANNOTATION_PREFIX + name];
    const read = typeof value === "string" ? codec.read(value) : undefined;
    if (read !== undefined) facts[fact] = read;
  }
  return facts as Partial<T>;
}
