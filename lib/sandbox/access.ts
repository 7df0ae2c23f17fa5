/** Authentication and authorization of the sandbox's API. */
import type { Http2ServerRequest } from "node:http2";
import type { TLSSocket } from "node:tls";
import { type ApiTarget, apiVersion, REVIEW_RESOURCE, USERS_RESOURCE } from "./resources.ts";
import { badRequest, forbidden, invalid, type StatusError, unauthorized } from "./status.ts";

/** Selects requests to allow or forbid. An omitted field, or `*`, matches everything. */
export interface Rule {
  /** `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `impersonate`. */
  verb?: string;
  /** Plural, such as `secrets`. */
  resource?: string;
  namespace?: string;
  name?: string;
}

export interface User {
  name: string;
  /** Bearer token; a user without one can authenticate by client certificate only. */
  token?: string;
  /** Default: everything. */
  allow?: Rule[];
  /** Overrides `allow`. */
  forbid?: Rule[];
}

const FIELDS = ["verb", "resource", "namespace", "name"] as const;

/** Whether a user has the requested permission. An omitted field, or `*`, requests all values, so none may be forbidden. */
function isAllowed(user: User, requested: Partial<Record<keyof Rule, string | undefined>>): boolean {
  const isAny = (value: string | undefined) => value === undefined || value === "*";
  const covers = (rule: Rule) => FIELDS.every((field) => isAny(rule[field]) || rule[field] === requested[field]);
  const overlaps = (rule: Rule) =>
    FIELDS.every((field) => isAny(rule[field]) || rule[field] === requested[field] || requested[field] === "*");
  return (user.allow === undefined || user.allow.some(covers)) && !user.forbid?.some(overlaps);
}

/** @throws StatusError 403 */
export function checkAccess(user: User, verb: string, target: ApiTarget): void {
  const { resource, ...scope } = target;
  if (!isAllowed(user, { verb, resource: resource.plural, ...scope })) throw forbidden(user.name, verb, target);
}

/** The user of a request without credentials. */
export const ANONYMOUS = "system:anonymous";

/**
 * Authenticates a request by client certificate or token, then applies impersonation.
 *
 * @throws StatusError 401 for an unknown token, 403 if the user may not impersonate
 */
export function authenticate(users: readonly User[], request: Http2ServerRequest): User {
  const findUser = (name: string) => users.find((user) => user.name === name) ?? { name, allow: [] };
  const user = authenticateDirectly(users, request, findUser);
  const name = request.headers["impersonate-user"];
  if (typeof name !== "string") return user;
  checkAccess(user, "impersonate", { resource: USERS_RESOURCE, namespace: undefined, name });
  return findUser(name);
}

function authenticateDirectly(
  users: readonly User[],
  request: Http2ServerRequest,
  findUser: (name: string) => User,
): User {
  const socket = request.socket as TLSSocket;
  const certificate = socket.authorized ? socket.getPeerCertificate() : undefined;
  if (certificate?.subject) return findUser([certificate.subject.CN].flat().join());
  const header = request.headers.authorization;
  if (header === undefined || !/^Bearer\s/i.test(header)) return findUser(ANONYMOUS);
  const token = /^Bearer\s+(\S+)$/i.exec(header)?.[1];
  const user = users.find((candidate) => candidate.token !== undefined && candidate.token === token);
  if (!user) throw unauthorized();
  return user;
}

/**
 * Answers a SelfSubjectAccessReview. Non-resource paths (`/healthz`) are allowed only to users with all permissions.
 *
 * @returns the review with its status
 * @throws StatusError 400 for a body of another kind, 422 unless exactly one kind of attributes is set
 */
export function reviewAccess(user: User, body: unknown): unknown {
  const review = (body ?? {}) as { kind?: string; spec?: ReviewSpec };
  const { kind = REVIEW_RESOURCE.kind, spec = {} } = review;
  if (kind !== REVIEW_RESOURCE.kind) {
    throw badRequest(
      `${kind} in version "v1" cannot be handled as a ${REVIEW_RESOURCE.kind}: no kind "${kind}" is registered`,
    );
  }
  const { resourceAttributes: attributes, nonResourceAttributes: path } = spec;
  if (!attributes && !path) {
    const why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    throw invalidReview("spec.resourceAttributes", `Invalid value: null: ${why}`);
  }
  if (attributes && path) {
    const why = "cannot be specified in combination with resourceAttributes";
    throw invalidReview("spec.nonResourceAttributes", `Invalid value: ${JSON.stringify(path)}: ${why}`);
  }
  const { verb = "", resource = "", namespace, name } = attributes ?? { verb: "*", resource: "*" };
  const allowed = isAllowed(user, { verb, resource, namespace: namespace || undefined, name: name || undefined });
  return { kind, apiVersion: apiVersion(REVIEW_RESOURCE), metadata: {}, spec, status: { allowed } };
}

interface ReviewSpec {
  resourceAttributes?: Rule;
  nonResourceAttributes?: Record<string, string>;
}

function invalidReview(field: string, message: string): StatusError {
  return invalid({ group: REVIEW_RESOURCE.group }, [{ reason: "FieldValueInvalid", message, field }]);
}
