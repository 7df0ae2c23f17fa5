/** Errors as a Kubernetes API server answers them: a Status object, with the real one's reasons and words. */
import type { ApiTarget, ObjectTarget, ServedResource } from "./resources.ts";

export interface Cause {
  reason: string;
  message: string;
  field: string;
}

/** Thrown by whatever handles a request; the server writes its `status`. */
export class StatusError extends Error {
  readonly code: number;
  /** The object `Status`, as it goes over the wire. */
  readonly status: Record<string, unknown>;
  constructor(code: number, reason: string | undefined, message: string, details?: Record<string, unknown>) {
    super(message);
    this.code = code;
    const about = { ...(reason && { reason }), ...(details && { details }) };
    this.status = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, ...about, code };
  }
}

/** `secrets` or `deployments.apps`. */
function qualified(resource: ServedResource): string {
  return resource.group ? `${resource.plural}.${resource.group}` : resource.plural;
}

function details(resource: ServedResource, name: string | undefined, kind: string): Record<string, unknown> {
  return { ...(name && { name }), ...(resource.group && { group: resource.group }), kind };
}

export function notFound(resource: ServedResource, name: string): StatusError {
  const message = `${qualified(resource)} "${name}" not found`;
  return new StatusError(404, "NotFound", message, details(resource, name, resource.plural));
}

export function noSuchPath(): StatusError {
  return new StatusError(404, "NotFound", "the server could not find the requested resource", {});
}

export function alreadyExists(resource: ServedResource, name: string): StatusError {
  const message = `${qualified(resource)} "${name}" already exists`;
  return new StatusError(409, "AlreadyExists", message, details(resource, name, resource.plural));
}

/** A method that nothing takes at this path. */
export function methodNotAllowed(): StatusError {
  const message = "the server does not allow this method on the requested resource";
  return new StatusError(405, "MethodNotAllowed", message, {});
}

export function conflict(resource: ServedResource, name: string, why: string): StatusError {
  const message = `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`;
  return new StatusError(409, "Conflict", message, details(resource, name, resource.plural));
}

export function failedPrecondition(
  { resource, name }: ObjectTarget,
  field: "uid" | "resourceVersion",
  wanted: string,
  found: string | undefined,
): StatusError {
  const [label, what] = field === "uid" ? ["UID", "deleted and then recreated"] : ["ResourceVersion", "modified"];
  const why = `the ${label} in the precondition (${wanted}) does not match the ${label} in record (${found})`;
  const message = `Operation cannot be fulfilled on ${resource.kind} "${name}": ${why}. The object might have been ${what}`;
  return new StatusError(409, "Conflict", message, details(resource, name, resource.kind));
}

/**
 * A patch after which the object cannot be read any more. As the real server does, it repeats the whole object, private
 * keys included: a message not to be shown to anybody.
 */
export function invalidPatch(patched: unknown, why: string): StatusError {
  const message = `Invalid value: ${JSON.stringify(JSON.stringify(patched))}: ${why}`;
  return invalid({}, [{ reason: "FieldValueInvalid", message, field: "patch" }]);
}

/** What is wrong with an object of a request; what it is, as far as the server says. */
export function invalid(of: { kind?: string; group?: string; name?: string }, causes: Cause[]): StatusError {
  const { kind = "", group, name = "" } = of;
  const texts = causes.map((cause) => `${cause.field}: ${cause.message}`);
  const subject = `${group ? `${kind}.${group}` : kind} "${name}"`;
  const message = `${subject} is invalid: ${texts.length > 1 ? `[${texts.join(", ")}]` : texts[0]}`;
  const about = { ...(name && { name }), ...(group && { group }), ...(kind && { kind }) };
  return new StatusError(422, "Invalid", message, { ...about, causes });
}

/** What a patch asks for cannot be done on the object as it stands: a failed `test`, a path that isn't there. */
export function unprocessable(): StatusError {
  return new StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {});
}

export function badRequest(message: string): StatusError {
  return new StatusError(400, "BadRequest", message);
}

export function unauthorized(): StatusError {
  return new StatusError(401, "Unauthorized", "Unauthorized");
}

export function forbidden(user: string, verb: string, { resource, namespace, name }: ApiTarget): StatusError {
  const scope = namespace === undefined ? "at the cluster scope" : `in the namespace "${namespace}"`;
  const what = `${qualified(resource)}${name === undefined ? "" : ` "${name}"`} is forbidden`;
  const why = `User "${user}" cannot ${verb} resource "${resource.plural}" in API group "${resource.group}" ${scope}`;
  return new StatusError(403, "Forbidden", `${what}: ${why}`, details(resource, name, resource.plural));
}

export function forbiddenPath(user: string, verb: string, path: string): StatusError {
  return new StatusError(403, "Forbidden", `forbidden: User "${user}" cannot ${verb} path "${path}"`, {});
}

/** What a real API server can do and the sandbox cannot. */
export function notImplemented(what: string): StatusError {
  return new StatusError(501, "NotImplemented", `the sandbox's Kubernetes API does not know ${what}`);
}
