/** Query parameters of writes. */
import type { ServedResource } from "./resources.ts";
import { invalid, notImplemented, type Refusal, type StatusError } from "./status.ts";
import { unknownFields } from "./validate.ts";

/** The kind named in errors, such as `CreateOptions`. */
type OptionsKind = `${"Create" | "Update" | "Patch" | "Delete"}Options`;

/**
 * Whether `dryRun=All` is set: in the query or, for a delete with a body, in the body alone.
 *
 * @throws StatusError 422 for another value
 */
export function isDryRun(kind: OptionsKind, query: URLSearchParams, body?: unknown): boolean {
  const values = body ? ((body as { dryRun?: string[] }).dryRun ?? []) : query.getAll("dryRun");
  if (values.some((value) => value !== "All")) throw unsupportedValue(kind, "dryRun", values, ["All"]);
  return values.length > 0;
}

/**
 * Returns the check of `fieldValidation`: a function that refuses an object with unknown fields (Strict), returns warnings
 * (Warn, the default) or nothing (Ignore).
 *
 * @throws StatusError 422 for another value; the check throws 501 for Strict if the sandbox does not know the fields of the kind
 */
export function fieldValidation(kind: OptionsKind, resource: ServedResource, query: URLSearchParams) {
  const supported = ["", "Ignore", "Strict", "Warn"];
  const mode = query.get("fieldValidation") ?? "";
  if (!supported.includes(mode)) throw unsupportedValue(kind, "fieldValidation", mode, supported);
  return (object: unknown, refuse: Refusal): string[] => {
    const unknown = unknownFields(resource, object);
    if (unknown === undefined && mode === "Strict") {
      throw notImplemented(`field validation of ${resource.plural} (with kubectl, use --validate=false)`);
    }
    // kube-apiserver lists the fields of a body in their order, and sorts those of a patched object.
    if (kind === "PatchOptions") unknown?.sort();
    const warnings = (unknown ?? []).map((field) => `unknown field ${JSON.stringify(field)}`);
    if (mode === "Strict" && warnings.length > 0) throw refuse(`strict decoding error: ${warnings.join(", ")}`);
    return mode === "Ignore" ? [] : warnings;
  };
}

function unsupportedValue(kind: OptionsKind, field: string, value: unknown, supported: readonly string[]): StatusError {
  const values = supported.map((one) => JSON.stringify(one)).join(", ");
  const message = `Unsupported value: ${JSON.stringify(value)}: supported values: ${values}`;
  return invalid({ kind, group: "meta.k8s.io" }, [{ reason: "FieldValueNotSupported", message, field }]);
}
