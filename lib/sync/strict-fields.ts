/**
 * Strict readers of parsed JSON, for text that others may have written: each accepts one form, and nothing
 * beside it. Pure.
 */
import { type Fields, isFields } from "../util/fields.ts";

/** A value that is not as it has to be; the message names its place, and never repeats the value. */
export class FieldError extends Error {}

/** Returns a value of the type. The path is the place of the value, such as `members[3].entry`. @throws FieldError */
export type FieldReader<T> = (value: unknown, path: string) => T;

/** Accepts a string of at most `maxLength` UTF-16 code units that matches the pattern. */
export function textField(maxLength: number, pattern?: RegExp): FieldReader<string> {
  return (value, path) => {
    if (typeof value !== "string") throw new FieldError(`${path} must be a string`);
    if (value.length > maxLength) throw new FieldError(`${path} must have at most ${maxLength} characters`);
    if (pattern && !pattern.test(value)) throw new FieldError(`${path} is invalid`);
    return value;
  };
}

/** Accepts a time in UTC, as `Date.toISOString` writes it, with or without fractions of a second. */
export const timeField: FieldReader<string> = (value, path) => {
  const isTime = typeof value === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/.test(value);
  if (!isTime || Number.isNaN(Date.parse(value))) throw new FieldError(`${path} must be a time in UTC (RFC 3339)`);
  return value;
};

/** Accepts an integer from `min` to `max`. */
export function integerField(min: number, max: number): FieldReader<number> {
  return (value, path) => {
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < min || value > max) {
      throw new FieldError(`${path} must be an integer from ${min} to ${max}`);
    }
    return value;
  };
}

/** Accepts one of some strings. */
export function choiceField<const T extends string>(choices: readonly T[]): FieldReader<T> {
  return (value, path) => {
    const found = choices.find((choice) => choice === value);
    if (found === undefined) throw new FieldError(`${path} must be one of ${choices.join(", ")}`);
    return found;
  };
}

/** Accepts a list of at most `maxItems`. If `keyOf` is given, no two items may have the same key. */
export function listField<T>(
  item: FieldReader<T>,
  maxItems: number,
  keyOf?: (item: T) => string | undefined,
): FieldReader<T[]> {
  return (value, path) => {
    if (!Array.isArray(value)) throw new FieldError(`${path} must be a list`);
    if (value.length > maxItems) throw new FieldError(`${path} must have at most ${maxItems} items`);
    const items = value.map((one, i) => item(one, `${path}[${i}]`));
    const keys = keyOf ? items.flatMap((one) => keyOf(one) ?? []) : [];
    if (new Set(keys).size < keys.length) throw new FieldError(`${path} has two items of one name`);
    return items;
  };
}

/** Accepts an object whose keys are names, at most `maxItems`. */
export function recordField<T>(
  key: FieldReader<string>,
  item: FieldReader<T>,
  maxItems: number,
): FieldReader<Record<string, T>> {
  return (value, path) => {
    const entries = Object.entries(toFields(value, path));
    if (entries.length > maxItems) throw new FieldError(`${path} must have at most ${maxItems} items`);
    // fromEntries defines own properties, so that a key such as __proto__ does not replace the prototype.
    return Object.fromEntries(entries.map(([name, one]) => [key(name, `a key of ${path}`), item(one, `${path} item`)]));
  };
}

type Readers<T> = { [K in keyof T]-?: FieldReader<Exclude<T[K], undefined>> };

/**
 * Accepts an object with exactly these fields; those of `optional` may be missing. Fields of the result are in the order of
 * the readers.
 */
export function objectField<T extends object, O extends keyof T & string>(
  readers: Readers<T>,
  optional: readonly O[],
): FieldReader<T> {
  const names = Object.keys(readers) as (keyof T & string)[];
  return (value, path) => {
    const fields = toFields(value, path);
    const unknown = Object.keys(fields).filter((name) => !Object.hasOwn(readers, name));
    if (unknown.length > 0) throw new FieldError(`${path} has ${unknown.length} unknown fields`);
    const read = names.flatMap((name) => {
      if (Object.hasOwn(fields, name)) return [[name, readers[name](fields[name], `${path}.${name}`)] as const];
      if (!optional.some((one) => one === name)) throw new FieldError(`${path}.${name} is missing`);
      return [];
    });
    return Object.fromEntries(read) as T;
  };
}

function toFields(value: unknown, path: string): Fields {
  if (!isFields(value)) throw new FieldError(`${path} must be an object`);
  return value;
}
