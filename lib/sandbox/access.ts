/** Who asks the sandbox's API, and who may do what there. */
import type { Http2ServerRequest } from "node:http2";
import type { TLSSocket } from "node:tls";
import { type ApiTarget, USERS_RESOURCE } from "./resources.ts";
import { badRequest, forbidden, invalid, type StatusError, unauthorized } from "./status.ts";

/** What a user may or may not do; a field left out, or `*`, stands for all. */
export interface Rule {
  /** `get`, `list`, `create`, `update`, `patch`, `delete`, `impersonate`. */
  verb?: string;
  /** `secrets`, `deployments`. */
  resource?: string;
  namespace?: string;
  name?: string;
}

export interface User {
  name: string;
  /** Bearer token; without one the user can come by client certificate only. */
  token?: string;
  /** Default: everything. */
  allow?: Rule[];
  /** Wins over `allow`. */
  forbid?: Rule[];
}

const FIELDS = ["verb", "resource", "namespace", "name"] as const;

/** Whether a user may do all that is asked for. A field left out, or `*`, asks for all: no part of it may be forbidden. */
function isAllowed(user: User, asked: Partial<Record<keyof Rule, string | undefined>>): boolean {
  const isAll = (value: string | undefined) => value === undefined || value === "*";
  const covers = (rule: Rule) => FIELDS.every((field) => isAll(rule[field]) || rule[field] === asked[field]);
  const touches = (rule: Rule) =>
    FIELDS.every((field) => isAll(rule[field]) || rule[field] === asked[field] || asked[field] === "*");
  return (user.allow === undefined || user.allow.some(covers)) && !user.forbid?.some(touches);
}

/** @throws StatusError 403 */
export function checkAccess(user: User, verb: string, target: ApiTarget): void {
  const { resource, ...where } = target;
  if (!isAllowed(user, { verb, resource: resource.plural, ...where })) throw forbidden(user.name, verb, target);
}

/** The user of a request that comes without a token and without a certificate. */
export const ANONYMOUS = "system:anonymous";

/**
 * Who a request is from: by client certificate or token, and then as whom it impersonates.
 *
 * @throws StatusError 401 for a token that is nobody's, 403 where impersonating is not allowed
 */
export function authenticate(users: readonly User[], request: Http2ServerRequest): User {
  const named = (name: string) => users.find((user) => user.name === name) ?? { name, allow: [] };
  const user = holderOf(users, request, named);
  const name = request.headers["impersonate-user"];
  if (typeof name !== "string") return user;
  checkAccess(user, "impersonate", { resource: USERS_RESOURCE, namespace: undefined, name });
  return named(name);
}

function holderOf(users: readonly User[], request: Http2ServerRequest, named: (name: string) => User): User {
  const socket = request.socket as TLSSocket;
  const certificate = socket.authorized ? socket.getPeerCertificate() : undefined;
  if (certificate?.subject) return named([certificate.subject.CN].flat().join());
  const header = request.headers.authorization;
  if (header === undefined || !/^Bearer\s/i.test(header)) return named(ANONYMOUS);
  const token = /^Bearer\s+(\S+)$/i.exec(header)?.[1];
  const user = users.find((candidate) => candidate.token !== undefined && candidate.token === token);
  if (!user) throw unauthorized();
  return user;
}

export const REVIEW_GROUP = "authorization.k8s.io";
export const REVIEW_KIND = "SelfSubjectAccessReview";
export const REVIEWS = "selfsubjectaccessreviews";

/**
 * Answers a SelfSubjectAccessReview: whether the user may do what it asks about. What is no resource (`/healthz`) only
 * those may do who may do everything.
 *
 * @returns the review with its status.
 * @throws StatusError 400 for a body of another kind, 422 where it asks about no one thing.
 */
export function reviewAccess(user: User, body: unknown): unknown {
  const review = (body ?? {}) as { kind?: string; spec?: ReviewSpec };
  const { kind = REVIEW_KIND, spec = {} } = review;
  if (kind !== REVIEW_KIND) {
    throw badRequest(`${kind} in version "v1" cannot be handled as a ${REVIEW_KIND}: no kind "${kind}" is registered`);
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
  return { kind: REVIEW_KIND, apiVersion: `${REVIEW_GROUP}/v1`, metadata: {}, spec, status: { allowed } };
}

interface ReviewSpec {
  resourceAttributes?: Rule;
  nonResourceAttributes?: Record<string, string>;
}

function invalidReview(field: string, message: string): StatusError {
  return invalid({ group: REVIEW_GROUP }, [{ reason: "FieldValueInvalid", message, field }]);
}
