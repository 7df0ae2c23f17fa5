/** Access to parsed JSON and YAML of unknown shape. Pure. */

export type Fields = Record<string, unknown>;

/** Whether a value is an object, but not an array. */
export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Returns the value at a path of keys; undefined if it does not exist. */
export function getField(object: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, key) => (isFields(value) && Object.hasOwn(value, key) ? value[key] : undefined),
    object,
  );
}

/** Returns a valid Kubernetes object name, which is safe to print and to use in a command; undefined for other values. */
export function parseObjectName(value: unknown): string | undefined {
  return typeof value === "string" && /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/.test(value) ? value : undefined;
}
