/** A Kubernetes API client over a transport, with the object types of `@kubernetes/client-node`. */
import type {
  KubernetesObject,
  V1ConfigMap,
  V1DaemonSet,
  V1Deployment,
  V1Lease,
  V1Node,
  V1Pod,
  V1Secret,
  V1Service,
} from "@kubernetes/client-node";
import { EXIT, UserError } from "../util/errors.ts";
import { truncateLine } from "../util/line.ts";
import { shellQuote } from "../util/shell.ts";
import { type Context, describeContext } from "./kubeconfig/kubeconfig.ts";
import type { Request, Transport } from "./transport/transport.ts";

const PAGE_SIZE = 500;
/** Half a million objects: more than any cluster has. A server that never ends a list is refused. */
const MAX_PAGES = 1_000;
/** Requests an object without its content. Servers and proxies that do not support this return the whole object. */
const METADATA_ONLY = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json";

/** A resource of the API; `T` is the type of its objects. */
export interface Resource<T extends KubernetesObject> {
  group: "" | "apps" | "coordination.k8s.io";
  plural: string;
  kind: string;
  clusterScoped?: boolean;
  /** Never set; carries the type parameter. */
  object?: T;
}

export const secrets: Resource<V1Secret> = { group: "", plural: "secrets", kind: "Secret" };
export const configMaps: Resource<V1ConfigMap> = { group: "", plural: "configmaps", kind: "ConfigMap" };
export const services: Resource<V1Service> = { group: "", plural: "services", kind: "Service" };
export const pods: Resource<V1Pod> = { group: "", plural: "pods", kind: "Pod" };
export const nodes: Resource<V1Node> = { group: "", plural: "nodes", kind: "Node", clusterScoped: true };
export const deployments: Resource<V1Deployment> = { group: "apps", plural: "deployments", kind: "Deployment" };
export const daemonSets: Resource<V1DaemonSet> = { group: "apps", plural: "daemonsets", kind: "DaemonSet" };
/** Its times are strings, as in all objects that are read; client-node's type states `Date`. */
export const leases: Resource<V1Lease> = { group: "coordination.k8s.io", plural: "leases", kind: "Lease" };

type Verb = "get" | "list" | "create" | "patch";

/** The verb of a request, and the object or list that it reads or writes. */
export interface Subject {
  verb: Verb;
  resource: Pick<Resource<KubernetesObject>, "group" | "plural" | "kind" | "clusterScoped">;
  namespace?: string | undefined;
  name?: string | undefined;
}

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

export interface WriteOptions {
  /** Validates the write on the server without storing it (`dryRun=All`). */
  dryRun?: boolean;
  /** Requests `metadata` alone: the data of a large Secret is about a megabyte. */
  metadataOnly?: boolean;
}

export interface ListOptions {
  namespace?: string | undefined;
  labelSelector?: string;
  fieldSelector?: string;
}

export interface KubernetesApiOptions {
  /** The name of the context in error messages. */
  context: string;
  /** Whether the context is not of the user's kubeconfig. */
  isForeign?: true | undefined;
  /** The kubectl flags that select the same cluster and user, shell-quoted, for commands in error messages. */
  flags: string;
  /** Recorded in `managedFields` by each write. */
  fieldManager: string;
}

/**
 * The API of one cluster. All requests share one transport.
 *
 * Each method throws an ApiError for an error response and a ConnectionError if the server does not respond.
 */
export class KubernetesApi {
  readonly #transport: Transport;
  readonly #options: KubernetesApiOptions;

  constructor(transport: Transport, options: KubernetesApiOptions) {
    this.#transport = transport;
    this.#options = options;
  }

  /** Gets an object; undefined if it does not exist. */
  async get<T extends KubernetesObject>(
    resource: Resource<T>,
    namespace: string,
    name: string,
    { metadataOnly = false }: Pick<WriteOptions, "metadataOnly"> = {},
  ): Promise<T | undefined> {
    const subject: Subject = { verb: "get", resource, namespace, name };
    const accept = metadataOnly ? METADATA_ONLY : undefined;
    try {
      return (await this.#send(subject, { method: "GET", path: pathOf(subject), accept })) as T;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404 && error.reason === "NotFound") return undefined;
      throw error;
    }
  }

  /**
   * Lists objects in pages of at most 500. If the list expires (410), it is continued with the token from the error, at
   * the current resource version.
   *
   * @throws UserError (exit code 1) if the list has more than {@link MAX_PAGES} pages.
   */
  async *list<T extends KubernetesObject>(
    resource: Resource<T>,
    { namespace, labelSelector, fieldSelector }: ListOptions = {},
  ): AsyncGenerator<T[]> {
    const subject: Subject = { verb: "list", resource, namespace };
    let token: string | undefined;
    let expired = false;
    let pages = 0;
    do {
      if (++pages > MAX_PAGES) {
        throw new UserError(`${describeContext(this.#context)}: list of ${resource.plural} has no end`, EXIT.failed);
      }
      const query = new URLSearchParams({ limit: String(PAGE_SIZE) });
      if (labelSelector) query.set("labelSelector", labelSelector);
      if (fieldSelector) query.set("fieldSelector", fieldSelector);
      if (token) query.set("continue", token);
      try {
        const page = (await this.#send(subject, { method: "GET", path: `${pathOf(subject)}?${query}` })) as {
          items?: T[] | null;
          metadata?: { continue?: string };
        };
        yield page.items ?? [];
        token = page.metadata?.continue;
        expired = false;
      } catch (error) {
        const next = error instanceof ApiError && error.status === 410 ? error.continueToken : undefined;
        if (next === undefined || expired) throw error;
        token = next;
        expired = true;
      }
    } while (token);
  }

  create<T extends KubernetesObject>(
    resource: Resource<T>,
    namespace: string,
    object: T,
    options: WriteOptions = {},
  ): Promise<T> {
    const subject: Subject = { verb: "create", resource, namespace, name: object.metadata?.name };
    return this.#write(subject, "application/json", object, options);
  }

  /** Applies a merge patch (RFC 7386). With a `resourceVersion` in it, a stale patch fails with 409. */
  mergePatch<T extends KubernetesObject>(
    resource: Resource<T>,
    namespace: string,
    name: string,
    patch: object,
    options: WriteOptions = {},
  ): Promise<T> {
    return this.#write({ verb: "patch", resource, namespace, name }, "application/merge-patch+json", patch, options);
  }

  /** Applies a JSON patch (RFC 6902). A failed `test` operation is a 422. */
  jsonPatch<T extends KubernetesObject>(
    resource: Resource<T>,
    namespace: string,
    name: string,
    patch: object[],
    options: WriteOptions = {},
  ): Promise<T> {
    return this.#write({ verb: "patch", resource, namespace, name }, "application/json-patch+json", patch, options);
  }

  /**
   * Checks with a SelfSubjectAccessReview whether the user is allowed to make a request.
   *
   * @returns the kubectl command that shows the missing permission; undefined if the request is allowed, or if the
   *   server does not answer reviews.
   */
  async findMissingPermission(subject: Subject): Promise<string | undefined> {
    const { verb, resource, namespace, name } = subject;
    const attributes = {
      verb,
      group: resource.group,
      resource: resource.plural,
      namespace,
      ...(verb !== "create" && { name }),
    };
    const request: Request = {
      method: "POST",
      path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
      contentType: "application/json",
      body: JSON.stringify({
        apiVersion: "authorization.k8s.io/v1",
        kind: "SelfSubjectAccessReview",
        spec: { resourceAttributes: attributes },
      }),
    };
    const { status, body } = await this.#transport.request(request);
    const review = parse(body) as { status?: { allowed?: boolean } } | undefined;
    return status === 201 && review?.status?.allowed === false ? this.#canI(subject) : undefined;
  }

  close(): void {
    this.#transport.close();
  }

  async #write<T>(
    subject: Subject,
    contentType: string,
    body: object,
    { dryRun = false, metadataOnly = false }: WriteOptions,
  ): Promise<T> {
    const query = new URLSearchParams({ fieldManager: this.#options.fieldManager, ...(dryRun && { dryRun: "All" }) });
    return (await this.#send(subject, {
      method: subject.verb === "create" ? "POST" : "PATCH",
      path: `${pathOf(subject)}?${query}`,
      body: JSON.stringify(body),
      contentType,
      accept: metadataOnly ? METADATA_ONLY : undefined,
    })) as T;
  }

  async #send(subject: Subject, request: Request): Promise<unknown> {
    const { status, body } = await this.#transport.request(request);
    const parsed = parse(body);
    if (parsed === undefined) {
      throw this.#error(subject, status, {
        message: "response is not JSON; check that the server is a Kubernetes API server",
      });
    }
    if (status >= 200 && status < 300) return parsed;
    throw this.#error(subject, status, parsed as Status);
  }

  get #context(): Pick<Context, "name" | "isForeign"> {
    const { context: name, isForeign } = this.#options;
    return { name, ...(isForeign && { isForeign }) };
  }

  #error(subject: Subject, status: number, answer: Status): ApiError {
    const text = `${describeContext(this.#context)}: ${this.#describeError(subject, status, answer)}`;
    const reason = typeof answer.reason === "string" ? answer.reason : "";
    return new ApiError(text, status, reason, subject, answer.metadata?.continue);
  }

  #describeError(subject: Subject, status: number, { message, details }: Status): string {
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
    if (status === 403 && (user !== undefined || verb === "get" || verb === "list")) {
      return `not allowed to ${action}${user === undefined ? "" : ` as ${truncateLine(user)}`}\n  check with: ${this.#canI(subject)}`;
    }
    const cause = mayContainSecrets(subject, status) ? redactedCause(status, text, details) : firstLine(text);
    return `cannot ${action}: ${cause} (${status})`;
  }

  #canI({ verb, resource, namespace, name }: Subject): string {
    const type = `${resource.plural}${resource.group && `.${resource.group}`}`;
    const object = name === undefined || verb === "create" ? "" : `/${name}`;
    const scope = namespace === undefined ? (resource.clusterScoped ? "" : " -A") : ` -n ${shellQuote(namespace)}`;
    return `kubectl auth can-i ${verb} ${shellQuote(type + object)}${scope} ${this.#options.flags}`;
  }
}

/** A `Status` response, unvalidated: proxies in front of an API server send other objects. */
interface Status {
  reason?: unknown;
  message?: unknown;
  metadata?: { continue?: string };
  details?: { causes?: { field?: unknown; reason?: unknown; message?: unknown }[] } | undefined;
}

/** Parses a JSON object; undefined for anything else. */
function parse(body: string): object | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the message of a response may repeat the request body or the object, private keys included. */
function mayContainSecrets({ verb, resource }: Subject, status: number): boolean {
  return status === 422 || (resource.plural === "secrets" && verb !== "get" && [400, 403].includes(status));
}

/** Reasons of causes whose messages never contain the invalid value. */
const REASONS_WITHOUT_VALUE = ["FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong"];

/** Describes an error by its webhook or invalid fields, without the message, which may contain secrets. */
function redactedCause(status: number, message: string, details: Status["details"]): string {
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

/** Returns the path of an object or a list; for a create, that of the list. */
function pathOf({ verb, resource: { group, plural }, namespace, name }: Subject): string {
  const root = group === "" ? "/api/v1" : `/apis/${group}/v1`;
  const scope = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${root}${scope}/${plural}${name === undefined || verb === "create" ? "" : `/${encodeURIComponent(name)}`}`;
}

function firstLine(text: string): string {
  return text.split("\n")[0]?.slice(0, 300) || "no reason given";
}
