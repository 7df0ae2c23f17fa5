/** Kubernetes objects over a transport, typed by client-node's types. Objects are asked for by name wherever they have one. */
import type {
  KubernetesObject,
  V1ConfigMap,
  V1DaemonSet,
  V1Deployment,
  V1Node,
  V1Pod,
  V1Secret,
  V1Service,
} from "@kubernetes/client-node";
import { UserError } from "../util/errors.ts";
import type { Request, Transport } from "./transport/transport.ts";

/** The name under which our writes stand in `managedFields`. */
export const FIELD_MANAGER = "clustermesh-secrets";
const PAGE = 500;
/** An object without its content; a server that cannot do that (or a relay before it) gives it whole. */
const METADATA_ONLY = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json";

/** A kind of object. The type parameter is that of its objects. */
export interface Resource<T extends KubernetesObject> {
  group: "" | "apps";
  plural: string;
  kind: string;
  /** Whether its objects are in no namespace. */
  clusterWide?: boolean;
  /** Never set: it carries the type. */
  object?: T;
}

export const secrets: Resource<V1Secret> = { group: "", plural: "secrets", kind: "Secret" };
export const configMaps: Resource<V1ConfigMap> = { group: "", plural: "configmaps", kind: "ConfigMap" };
export const services: Resource<V1Service> = { group: "", plural: "services", kind: "Service" };
export const pods: Resource<V1Pod> = { group: "", plural: "pods", kind: "Pod" };
export const nodes: Resource<V1Node> = { group: "", plural: "nodes", kind: "Node", clusterWide: true };
export const deployments: Resource<V1Deployment> = { group: "apps", plural: "deployments", kind: "Deployment" };
export const daemonSets: Resource<V1DaemonSet> = { group: "apps", plural: "daemonsets", kind: "DaemonSet" };

type Verb = "get" | "list" | "create" | "patch";

/** What a call was about, for messages. */
export interface Subject {
  verb: Verb;
  resource: Pick<Resource<KubernetesObject>, "group" | "plural" | "kind" | "clusterWide">;
  namespace?: string | undefined;
  name?: string | undefined;
}

/** The API server answered with something else than success. */
export class ApiError extends UserError {
  readonly status: number;
  readonly reason: string;
  readonly subject: Subject;
  /** Where a list that has expired (410) can go on. */
  readonly continue: string | undefined;
  constructor(message: string, status: number, reason: string, subject: Subject, resume?: string) {
    super(message, 1);
    this.continue = resume;
    this.name = "ApiError";
    this.status = status;
    this.reason = reason;
    this.subject = subject;
  }
}

export interface WriteOptions {
  /** The server checks and answers as if, and stores nothing. */
  dryRun?: boolean;
  /** Have `metadata` alone in the answer: of a Secret with hundreds of peers the rest is a megabyte. */
  metadataOnly?: boolean;
}

export interface ListOptions {
  namespace?: string | undefined;
  labelSelector?: string;
  fieldSelector?: string;
}

/** A cluster's API. All calls go over one connection, and throw ApiError or ConnectionError. */
export class KubernetesApi {
  readonly #transport: Transport;
  readonly #context: string;
  readonly #flags: string;

  /**
   * @param context what the cluster is called in messages
   * @param flags those of kubectl that reach the same cluster as the same user, for commands in messages
   */
  constructor(transport: Transport, context: string, flags = `--context ${context}`) {
    this.#transport = transport;
    this.#context = context;
    this.#flags = flags;
  }

  /** @returns undefined where there is no such object. */
  async get<T extends KubernetesObject>(
    resource: Resource<T>,
    namespace: string,
    name: string,
    { metadataOnly = false }: Pick<WriteOptions, "metadataOnly"> = {},
  ): Promise<T | undefined> {
    const subject: Subject = { verb: "get", resource, namespace, name };
    const request: Request = { method: "GET", path: pathOf(subject), ...(metadataOnly && { accept: METADATA_ONLY }) };
    try {
      return (await this.#send(subject, request)) as T;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404 && error.reason === "NotFound") return undefined;
      throw error;
    }
  }

  /** Lists page by page; where the server has forgotten the list's state, it goes on with the present one. */
  async *list<T extends KubernetesObject>(
    resource: Resource<T>,
    { namespace, labelSelector, fieldSelector }: ListOptions = {},
  ): AsyncGenerator<T[]> {
    const subject: Subject = { verb: "list", resource, namespace };
    let token: string | undefined;
    let expired = false;
    do {
      const query = new URLSearchParams({ limit: String(PAGE) });
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
        const resume = error instanceof ApiError && error.status === 410 ? error.continue : undefined;
        if (resume === undefined || expired) throw error;
        token = resume;
        expired = true;
      }
    } while (token);
  }

  async create<T extends KubernetesObject>(
    resource: Resource<T>,
    namespace: string,
    object: T,
    options: WriteOptions = {},
  ): Promise<T> {
    const subject: Subject = { verb: "create", resource, namespace, name: object.metadata?.name };
    const path = pathOf({ ...subject, name: undefined });
    return (await this.#write(subject, "POST", path, "application/json", object, options)) as T;
  }

  /** RFC 7386: null removes; a `resourceVersion` in it makes a stale patch fail with 409. */
  async mergePatch<T extends KubernetesObject>(
    resource: Resource<T>,
    namespace: string,
    name: string,
    patch: object,
    options: WriteOptions = {},
  ): Promise<T> {
    return this.#patch(resource, namespace, name, "application/merge-patch+json", patch, options);
  }

  /** RFC 6902. A `test` that fails is a 422. */
  async jsonPatch<T extends KubernetesObject>(
    resource: Resource<T>,
    namespace: string,
    name: string,
    patch: object[],
    options: WriteOptions = {},
  ): Promise<T> {
    return this.#patch(resource, namespace, name, "application/json-patch+json", patch, options);
  }

  /**
   * Asks whether the user may do something (SelfSubjectAccessReview), before it is tried.
   *
   * @returns the command that checks it, where it is not allowed; undefined where it is, or where that cannot be asked.
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

  async #patch<T extends KubernetesObject>(
    resource: Resource<T>,
    namespace: string,
    name: string,
    contentType: string,
    patch: object,
    options: WriteOptions,
  ): Promise<T> {
    const subject: Subject = { verb: "patch", resource, namespace, name };
    return (await this.#write(subject, "PATCH", pathOf(subject), contentType, patch, options)) as T;
  }

  #write(
    subject: Subject,
    method: "POST" | "PATCH",
    path: string,
    contentType: string,
    body: object,
    { dryRun = false, metadataOnly = false }: WriteOptions,
  ): Promise<unknown> {
    const query = new URLSearchParams({ fieldManager: FIELD_MANAGER, ...(dryRun && { dryRun: "All" }) });
    const request: Request = { method, path: `${path}?${query}`, body: JSON.stringify(body), contentType };
    return this.#send(subject, { ...request, ...(metadataOnly && { accept: METADATA_ONLY }) });
  }

  async #send(subject: Subject, request: Request): Promise<unknown> {
    const { status, body } = await this.#transport.request(request);
    const parsed = parse(body);
    if (parsed === undefined) {
      throw this.#error(subject, status, {
        message: "it answered with something that is not JSON; is it a Kubernetes API?",
      });
    }
    if (status >= 200 && status < 300) return parsed;
    throw this.#error(subject, status, parsed as Status);
  }

  #error(subject: Subject, status: number, answer: Status): ApiError {
    const text = `context ${this.#context}: ${this.#explain(subject, status, answer)}`;
    const resume = answer.metadata?.continue;
    return new ApiError(text, status, typeof answer.reason === "string" ? answer.reason : "", subject, resume);
  }

  #explain(subject: Subject, status: number, { message, details }: Status): string {
    const { verb, resource, namespace, name } = subject;
    const object = `${resource.kind}${name === undefined ? "s" : ` ${name}`}`;
    const everywhere = resource.clusterWide ? "" : " in all namespaces";
    const what = `${verb} ${object}${namespace === undefined ? everywhere : ` in namespace ${namespace}`}`;
    const said = typeof message === "string" ? message : "";
    if (status === 401) return "the API server refused the credentials (401)";
    // A rule of RBAC always names the user; what else forbids (admission, quotas) can-i knows nothing of.
    const user = /User "([^"]*)" cannot /.exec(said)?.[1];
    if (status === 403 && (user !== undefined || verb === "get" || verb === "list")) {
      return `not allowed to ${what}${user === undefined ? "" : ` as ${user}`}\n  check with: ${this.#canI(subject)}`;
    }
    return `cannot ${what}: ${isPrivate(subject, status) ? publicPart(status, said, details) : firstLine(said)} (${status})`;
  }

  #canI({ verb, resource, namespace, name }: Subject): string {
    const kinds = `${resource.plural}${resource.group && `.${resource.group}`}`;
    const one = name === undefined || verb === "create" ? "" : `/${name}`;
    const scope = namespace === undefined ? (resource.clusterWide ? "" : " -A") : ` -n ${namespace}`;
    return `kubectl auth can-i ${verb} ${kinds}${one}${scope} ${this.#flags}`;
  }
}

/** What an API server answers where it fails; of its fields none need be there, or be what it should. */
interface Status {
  reason?: unknown;
  message?: unknown;
  metadata?: { continue?: string };
  details?: { causes?: { field?: unknown; reason?: unknown; message?: unknown }[] } | undefined;
}

/** An object; undefined for anything else. */
function parse(body: string): object | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the text of an answer may repeat what was sent, private keys included, or what stands in the object. */
function isPrivate({ verb, resource }: Subject, status: number): boolean {
  return status === 422 || (resource.plural === "secrets" && verb !== "get" && [400, 403].includes(status));
}

/** Causes whose messages never hold the value that is wrong. */
const VALUELESS = ["FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong"];

/** What of such an answer can be told: who objects, and to which fields. */
function publicPart(status: number, message: string, details: Status["details"]): string {
  const webhook = /admission webhook "([^"]{1,200})"/.exec(message)?.[1];
  if (webhook !== undefined) return `admission webhook ${webhook} refuses it`;
  if (status === 403) return "a rule of admission refuses it";
  const causes = Array.isArray(details?.causes) ? details.causes : [];
  const wrong = causes.flatMap(({ field, reason, message }) => {
    if (typeof field !== "string" || field === "") return [];
    return [VALUELESS.includes(String(reason)) ? `${field}: ${firstLine(String(message))}` : field];
  });
  const where = wrong.length > 0 ? ` (${[...new Set(wrong)].slice(0, 3).join("; ")})` : "";
  return `the server finds the object invalid${where}`;
}

function pathOf({ resource: { group, plural }, namespace, name }: Subject): string {
  const root = group === "" ? "/api/v1" : `/apis/${group}/v1`;
  const scope = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${root}${scope}/${plural}${name === undefined ? "" : `/${encodeURIComponent(name)}`}`;
}

function firstLine(text: string): string {
  return text.split("\n")[0]?.slice(0, 300) || "no reason given";
}
