/** What the query of a write asks for beside the write itself. */
import type { ServedResource } from "./resources.ts";
import { badRequest, invalid, invalidPatch, notImplemented, type StatusError } from "./status.ts";
import { cannotBeHandled, unknownFields } from "./validate.ts";

/** `CreateOptions`, of which errors speak. */
type OptionsKind = `${"Create" | "Update" | "Patch" | "Delete"}Options`;

/**
 * Whether `dryRun=All` is asked for, in the query or, for a delete that has a body, in that alone.
 *
 * @throws StatusError 422 for another value
 */
export function isDryRun(kind: OptionsKind, query: URLSearchParams, body?: unknown): boolean {
  const asked = body ? ((body as { dryRun?: string[] }).dryRun ?? []) : query.getAll("dryRun");
  if (asked.some((value) => value !== "All")) throw unsupportedValue(kind, "dryRun", asked, ["All"]);
  return asked.length > 0;
}

/**
 * What is done with fields that the kind does not have, by the query's `fieldValidation`: refused (Strict), warned of (Warn,
 * the default) or ignored.
 *
 * @throws StatusError 422 for another value, 501 for Strict of a kind whose fields are not known here.
 */
export function fieldCheck(kind: OptionsKind, resource: ServedResource, query: URLSearchParams) {
  const values = ["", "Ignore", "Strict", "Warn"];
  const how = query.get("fieldValidation") ?? "";
  if (!values.includes(how)) throw unsupportedValue(kind, "fieldValidation", how, values);
  const found: string[] = [];
  const check = (object: unknown, refusal: (why: string) => StatusError, sorted: boolean) => {
    const unknown = unknownFields(resource, object);
    if (unknown === undefined && how === "Strict") {
      throw notImplemented(`which fields ${resource.plural} have; kubectl's --validate=false does not ask for it`);
    }
    const fields = (sorted ? unknown?.sort() : unknown)?.map((field) => `unknown field ${JSON.stringify(field)}`) ?? [];
    if (how === "Strict" && fields.length > 0) throw refusal(`strict decoding error: ${fields.join(", ")}`);
    if (how !== "Ignore") found.push(...fields);
  };
  return {
    body: (object: unknown) => check(object, (why) => badRequest(cannotBeHandled(resource, why)), false),
    patched: (object: unknown) => check(object, (why) => invalidPatch(object, why), true),
    /** As headers of the answer. */
    warnings: (): Record<string, string> =>
      found.length === 0 ? {} : { warning: found.map((text) => `299 - ${JSON.stringify(text)}`).join(", ") },
  };
}

function unsupportedValue(kind: OptionsKind, field: string, value: unknown, supported: readonly string[]): StatusError {
  const values = supported.map((one) => JSON.stringify(one)).join(", ");
  const message = `Unsupported value: ${JSON.stringify(value)}: supported values: ${values}`;
  return invalid({ kind, group: "meta.k8s.io" }, [{ reason: "FieldValueNotSupported", message, field }]);
}
