/** Who may do what in the sandbox's API. */
import { ApiError, badRequest } from "./status.ts";

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

/** What is asked for. A field left out, or `*`, asks for all: it is allowed if nothing of it is forbidden. */
export type Asked = Rule;

const FIELDS = ["verb", "resource", "namespace", "name"] as const;

/** Whether a user may do all that is asked for. */
export function isAllowed(user: User, asked: Asked): boolean {
  const isAll = (value: string | undefined) => value === undefined || value === "*";
  const covers = (rule: Rule) => FIELDS.every((field) => isAll(rule[field]) || rule[field] === asked[field]);
  const touches = (rule: Rule) =>
    FIELDS.every((field) => isAll(rule[field]) || rule[field] === asked[field] || asked[field] === "*");
  return (user.allow === undefined || user.allow.some(covers)) && !user.forbid?.some(touches);
}

export const REVIEW_GROUP = "authorization.k8s.io";
export const REVIEW_KIND = "SelfSubjectAccessReview";
export const REVIEWS = "selfsubjectaccessreviews";

/**
 * Answers a SelfSubjectAccessReview: whether the user may do what it asks about. What is no resource (`/healthz`) only
 * those may do who may do everything.
 *
 * @returns the review with its status.
 * @throws ApiError 400 for a body of another kind, 422 where it asks about no one thing.
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
  const { verb = "", resource = "", namespace = "", name = "" } = attributes ?? {};
  const asked = { verb, resource, ...(namespace && { namespace }), ...(name && { name }) };
  const allowed = attributes ? isAllowed(user, asked) : isAllowed(user, { verb: "*", resource: "*" });
  return {
    kind: REVIEW_KIND,
    apiVersion: `${REVIEW_GROUP}/v1`,
    metadata: {},
    spec,
    status: { allowed },
  };
}

interface ReviewSpec {
  resourceAttributes?: Record<string, string>;
  nonResourceAttributes?: Record<string, string>;
}

function invalidReview(field: string, message: string): ApiError {
  const causes = [{ reason: "FieldValueInvalid", message, field }];
  return new ApiError(422, "Invalid", `.${REVIEW_GROUP} "" is invalid: ${field}: ${message}`, {
    group: REVIEW_GROUP,
    causes,
  });
}
