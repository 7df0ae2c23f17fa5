/** Error responses of the API server, and the permissions that they lack. Pure. */
import { EXIT, UserError } from "../util/errors.ts";
import { truncateLine } from "../util/line.ts";
import { shellQuote } from "../util/shell.ts";
import { type Context, describeContext } from "./kubeconfig/kubeconfig.ts";
import type { Subject } from "./resources.ts";

/** An error response of the API server. */
export class ApiError extends UserError {
  readonly status: number;
  readonly reason: string;
  readonly subject: Subject;
  /** The token with which an expired list (410) can be continued. */
  readonly continueToken: string | undefined;

  constructor(message: string, status: number, reason: string, subject: Subject, continueToken?: string) {
    super(message, EXIT.failed);
    this.continueToken = continueToken;
    this.name = "ApiError";
    this.status = status;
    this.reason = reason;
    this.subject = subject;
  }
}

/** How error messages name the cluster. */
export interface ErrorContext {
  /** The name of the context in error messages. */
  context: string;
  /** Whether the context is not of the user's kubeconfig. */
  isForeign?: true | undefined;
  /** The kubectl flags that select the same cluster and user, shell-quoted, for commands in error messages. */
  flags: string;
}

/** Verbs that admission does not deny. */
const READ_VERBS: readonly Subject["verb"][] = ["get", "list", "watch"];

/** A `Status` response, unvalidated: proxies in front of an API server send other objects. */
export interface StatusAnswer {
  reason?: unknown;
  message?: unknown;
  metadata?: { continue?: string };
  details?: { causes?: { field?: unknown; reason?: unknown; message?: unknown }[] } | undefined;
}

/** Returns the error for a response with an error status, or with a body that is not what was requested. */
export function createApiError(
  subject: Subject,
  status: number,
  answer: StatusAnswer,
  context: ErrorContext,
): ApiError {
  const text = `${describeApi(context)}: ${describeError(subject, status, answer, context)}`;
  const reason = typeof answer.reason === "string" ? answer.reason : "";
  return new ApiError(text, status, reason, subject, answer.metadata?.continue);
}

/** Returns the name of the context for messages, such as `context "a"`. */
export function describeApi({ context: name, isForeign }: ErrorContext): string {
  const context: Pick<Context, "name" | "isForeign"> = { name, ...(isForeign && { isForeign }) };
  return describeContext(context);
}

function describeError(
  subject: Subject,
  status: number,
  { message, details }: StatusAnswer,
  { flags }: Pick<ErrorContext, "flags">,
): string {
  const { verb, resource, namespace, name } = subject;
  const object = name === undefined ? resource.plural : `${resource.kind.toLowerCase()}/${name}`;
  const allNamespaces = resource.clusterScoped ? "" : " in all namespaces";
  // Names that other objects refer to are those of the server, which is not trusted.
  const action = truncateLine(
    `${verb} ${object}${namespace === undefined ? allNamespaces : ` in namespace ${namespace}`}`,
  );
  const text = typeof message === "string" ? message : "";
  if (status === 401) return "the API server rejected the credentials (401)";
  // RBAC names the user in each denial. Other denials of writes (admission, quota) are unknown to `can-i`.
  const user = /User "([^"]*)" cannot /.exec(text)?.[1];
  if (status === 403 && (user !== undefined || READ_VERBS.includes(verb))) {
    return `not allowed to ${action}${user === undefined ? "" : ` as ${truncateLine(user)}`}\n  check with: ${canI(subject, flags)}`;
  }
  const cause = mayContainSecrets(subject, status) ? redactedCause(status, text, details) : firstLine(text);
  return `cannot ${action}: ${cause} (${status})`;
}

/** Returns the kubectl command that checks the permission for a request. */
export function canI({ verb, resource, namespace, name }: Subject, flags: string): string {
  const type = `${resource.plural}${resource.group && `.${resource.group}`}`;
  const object = name === undefined || verb === "create" ? "" : `/${name}`;
  const scope = namespace === undefined ? (resource.clusterScoped ? "" : " -A") : ` -n ${shellQuote(namespace)}`;
  return `kubectl auth can-i ${verb} ${shellQuote(type + object)}${scope} ${flags}`;
}

/** Returns the review by which the server states whether a request is permitted. */
export function createAccessReview({ verb, resource, namespace, name }: Subject): object {
  const { group, plural } = resource;
  const resourceAttributes = { verb, group, resource: plural, namespace, ...(verb !== "create" && { name }) };
  return { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec: { resourceAttributes } };
}

/** Whether the message of a response may repeat the request body or the object, private keys included. */
function mayContainSecrets({ verb, resource }: Subject, status: number): boolean {
  return status === 422 || (resource.plural === "secrets" && verb !== "get" && [400, 403].includes(status));
}

/** Reasons of causes whose messages never contain the invalid value. */
const REASONS_WITHOUT_VALUE = ["FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong"];

/** Describes an error by its webhook or invalid fields, without the message, which may contain secrets. */
function redactedCause(status: number, message: string, details: StatusAnswer["details"]): string {
  const webhook = /admission webhook "([^"]{1,200})"/.exec(message)?.[1];
  if (webhook !== undefined) return `denied by admission webhook ${JSON.stringify(webhook)}`;
  if (status === 403) return "denied by admission control";
  const causes = Array.isArray(details?.causes) ? details.causes : [];
  const invalid = causes.flatMap(({ field, reason, message }) => {
    if (typeof field !== "string" || field === "") return [];
    return [REASONS_WITHOUT_VALUE.includes(String(reason)) ? `${field}: ${firstLine(String(message))}` : field];
  });
  const fields = invalid.length > 0 ? `: ${[...new Set(invalid)].slice(0, 3).join("; ")}` : "";
  return `object is invalid${fields}`;
}

function firstLine(text: string): string {
  return text.split("\n")[0]?.slice(0, 300) || "no reason given";
}
