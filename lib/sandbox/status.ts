/** Errors as Status objects, with the reasons and messages of kube-apiserver. */
import type { ApiTarget, ObjectTarget, ServedResource } from "./resources.ts";

export interface Cause {
  reason: string;
  message: string;
  field: string;
}

/** An error to which the server responds with `status`. */
export class StatusError extends Error {
  readonly code: number;
  /** The Status object of the response. */
  readonly status: Record<string, unknown>;
  constructor(code: number, reason: string | undefined, message: string, details?: Record<string, unknown>) {
    super(message);
    this.code = code;
    const about = { ...(reason && { reason }), ...(details && { details }) };
    this.status = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, ...about, code };
  }
}

/** Creates the error for an object that cannot be decoded, from the cause. */
export type Refusal = (why: string) => StatusError;

/** Returns `secrets` or `deployments.apps`. */
export function qualifiedName(resource: ServedResource): string {
  return resource.group ? `${resource.plural}.${resource.group}` : resource.plural;
}

function details(resource: ServedResource, name: string | undefined, kind: string): Record<string, unknown> {
  return { ...(name && { name }), ...(resource.group && { group: resource.group }), kind };
}

/** Returns the error 404 for an object that does not exist. */
export function notFound(resource: ServedResource, name: string): StatusError {
  const message = `${qualifiedName(resource)} "${name}" not found`;
  return new StatusError(404, "NotFound", message, details(resource, name, resource.plural));
}

/** Returns the error 404 for a path that the server does not serve. */
export function noSuchPath(): StatusError {
  return new StatusError(404, "NotFound", "the server could not find the requested resource", {});
}

/** Returns the error 409 for the creation of an existing object. */
export function alreadyExists(resource: ServedResource, name: string): StatusError {
  const message = `${qualifiedName(resource)} "${name}" already exists`;
  return new StatusError(409, "AlreadyExists", message, details(resource, name, resource.plural));
}

/** Returns the error 410 for a version whose history was compacted. */
export function expired(request: "watch" | "list"): StatusError {
  return new StatusError(410, "Expired", `The resourceVersion for the provided ${request} is too old.`);
}

/**
 * Returns the error 410 for a list that cannot be continued at its version.
 *
 * @param token - continues the list at the current version
 */
export function expiredContinuation(token: string): StatusError {
  const message =
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the " +
    "continue parameter, or continue with the token of this response, which can show objects that were created, modified " +
    "or deleted since the first page.";
  const error = new StatusError(410, "Expired", message);
  error.status.metadata = { continue: token };
  return error;
}

/** Returns the error 504 for a version that the server does not have yet. */
export function tooLargeVersion(version: number, current: number): StatusError {
  const message = "Too large resource version";
  const causes = [{ reason: "ResourceVersionTooLarge", message }];
  const details = { causes, retryAfterSeconds: 1 };
  return new StatusError(504, "Timeout", `Timeout: ${message}: ${version}, current: ${current}`, details);
}

/** Returns the error 405 for a method that the resource does not support. */
export function methodNotAllowed(): StatusError {
  const message = "the server does not allow this method on the requested resource";
  return new StatusError(405, "MethodNotAllowed", message, {});
}

/** Returns the error 409 for a write that conflicts with the stored object. */
export function conflict(resource: ServedResource, name: string, why: string): StatusError {
  const message = `Operation cannot be fulfilled on ${qualifiedName(resource)} "${name}": ${why}`;
  return new StatusError(409, "Conflict", message, details(resource, name, resource.plural));
}

/** Returns the error 409 for a delete whose precondition does not match; `found` is the stored value. */
export function failedPrecondition(
  { resource, name }: ObjectTarget,
  field: "uid" | "resourceVersion",
  expected: string,
  found: string | undefined,
): StatusError {
  const [label, change] = field === "uid" ? ["UID", "deleted and then recreated"] : ["ResourceVersion", "modified"];
  const why = `the ${label} in the precondition (${expected}) does not match the ${label} in record (${found})`;
  const message = `Operation cannot be fulfilled on ${resource.kind} "${name}": ${why}. The object might have been ${change}`;
  return new StatusError(409, "Conflict", message, details(resource, name, resource.kind));
}

/**
 * The error for a patched object that cannot be decoded. As in kube-apiserver, the message repeats the whole object, private
 * keys included: never print it.
 */
export function invalidPatch(patched: unknown, why: string): StatusError {
  const message = `Invalid value: ${JSON.stringify(JSON.stringify(patched))}: ${why}`;
  return invalid({}, [{ reason: "FieldValueInvalid", message, field: "patch" }]);
}

/** @param object - kind, group and name for the message, if kube-apiserver names them */
export function invalid(object: { kind?: string; group?: string; name?: string }, causes: Cause[]): StatusError {
  const { kind = "", group, name = "" } = object;
  const texts = causes.map((cause) => `${cause.field}: ${cause.message}`);
  const subject = `${group ? `${kind}.${group}` : kind} "${name}"`;
  const distinct = [...new Set(texts)];
  const message = `${subject} is invalid: ${distinct.length > 1 ? `[${distinct.join(", ")}]` : distinct[0]}`;
  const about = { ...(name && { name }), ...(group && { group }), ...(kind && { kind }) };
  return new StatusError(422, "Invalid", message, { ...about, causes });
}

/** The error for a JSON patch that does not apply: a failed `test`, or a missing path. */
export function unprocessable(): StatusError {
  return new StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {});
}

/** Returns the error 400 for a malformed request. */
export function badRequest(message: string): StatusError {
  return new StatusError(400, "BadRequest", message);
}

/** Returns the error 401 for missing or invalid credentials. */
export function unauthorized(): StatusError {
  return new StatusError(401, "Unauthorized", "Unauthorized");
}

/** Returns the error 403 for a verb that RBAC denies on a resource. */
export function forbidden(user: string, verb: string, { resource, namespace, name }: ApiTarget): StatusError {
  const scope = namespace === undefined ? "at the cluster scope" : `in the namespace "${namespace}"`;
  const subject = `${qualifiedName(resource)}${name === undefined ? "" : ` "${name}"`} is forbidden`;
  const why = `User "${user}" cannot ${verb} resource "${resource.plural}" in API group "${resource.group}" ${scope}`;
  return new StatusError(403, "Forbidden", `${subject}: ${why}`, details(resource, name, resource.plural));
}

/** Returns the error 403 for a verb that RBAC denies on a non-resource path. */
export function forbiddenPath(user: string, verb: string, path: string): StatusError {
  return new StatusError(403, "Forbidden", `forbidden: User "${user}" cannot ${verb} path "${path}"`, {});
}

/** The error for a feature of kube-apiserver that the sandbox lacks. */
export function notImplemented(feature: string): StatusError {
  return new StatusError(501, "NotImplemented", `not supported by the sandbox: ${feature}`);
}
