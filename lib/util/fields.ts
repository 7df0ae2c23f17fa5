/** Looking into values of unknown shape, as JSON and YAML give them. Pure. */

export type Fields = Record<string, unknown>;

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value at a path of keys; undefined if there is none. */
export function getField(object: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, key) => (isFields(value) && Object.hasOwn(value, key) ? value[key] : undefined),
    object,
  );
}

/** A name that Kubernetes takes, so that it may be printed, and be a word of a command. */
export function parseObjectName(value: unknown): string | undefined {
  return typeof value === "string" && /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/.test(value) ? value : undefined;
}
