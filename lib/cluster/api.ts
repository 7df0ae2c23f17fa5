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
import { UserError } from "../peer/errors.ts";
import type { Request, Transport } from "./transport.ts";

/** The name under which our writes stand in `managedFields`. */
export const FIELD_MANAGER = "clustermesh-secrets";
const PAGE = 500;

/** A kind of object. The type parameter is that of its objects. */
export interface Resource<T extends KubernetesObject> {
  group: "" | "apps";
  plural: string;
  kind: string;
  /** Never set: it carries the type. */
  object?: T;
}

export const secrets: Resource<V1Secret> = { group: "", plural: "secrets", kind: "Secret" };
export const configMaps: Resource<V1ConfigMap> = { group: "", plural: "configmaps", kind: "ConfigMap" };
export const services: Resource<V1Service> = { group: "", plural: "services", kind: "Service" };
export const pods: Resource<V1Pod> = { group: "", plural: "pods", kind: "Pod" };
export const nodes: Resource<V1Node> = { group: "", plural: "nodes", kind: "Node" };
export const deployments: Resource<V1Deployment> = { group: "apps", plural: "deployments", kind: "Deployment" };
export const daemonSets: Resource<V1DaemonSet> = { group: "apps", plural: "daemonsets", kind: "DaemonSet" };

type Verb = "get" | "list" | "create" | "patch";

/** What a call was about, for messages. */
export interface Subject {
  verb: Verb;
  resource: Pick<Resource<KubernetesObject>, "group" | "plural" | "kind">;
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
  ): Promise<T | undefined> {
    const subject: Subject = { verb: "get", resource, namespace, name };
    const request: Request = { method: "GET", path: pathOf(subject) };
    try {
      return (await this.#send(subject, request)) as T;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
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
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 410 || error.continue === undefined) throw error;
        token = error.continue;
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
    { dryRun = false }: WriteOptions,
  ): Promise<unknown> {
    const query = new URLSearchParams({ fieldManager: FIELD_MANAGER, ...(dryRun && { dryRun: "All" }) });
    return this.#send(subject, { method, path: `${path}?${query}`, body: JSON.stringify(body), contentType });
  }

  async #send(subject: Subject, request: Request): Promise<unknown> {
    const { status, body } = await this.#transport.request(request);
    let parsed: unknown;
    try {
      parsed = JSON.parse(body);
    } catch {
      throw this.#error(subject, status, "", "it answered with something that is not JSON; is it a Kubernetes API?");
    }
    if (status >= 200 && status < 300) return parsed;
    const {
      reason = "",
      message = "",
      metadata,
    } = (parsed ?? {}) as {
      reason?: string;
      message?: string;
      metadata?: { continue?: string };
    };
    throw this.#error(subject, status, reason, message, metadata?.continue);
  }

  #error(subject: Subject, status: number, reason: string, message: string, resume?: string): ApiError {
    const { verb, resource, namespace, name } = subject;
    const object = `${resource.kind}${name === undefined ? "s" : ` ${name}`}`;
    const where = namespace === undefined ? "in all namespaces" : `in namespace ${namespace}`;
    const at = `context ${this.#context}`;
    const explain = () => {
      if (status === 401) return `${at}: the API server refused the credentials (401)`;
      if (status === 403) {
        const check = `${resource.plural}${resource.group && `.${resource.group}`}${name && verb !== "create" ? `/${name}` : ""}`;
        const scope = namespace === undefined ? "-A" : `-n ${namespace}`;
        return (
          `${at}: not allowed to ${verb} ${object} ${where}\n` +
          `  check with: kubectl auth can-i ${verb} ${check} ${scope} ${this.#flags}`
        );
      }
      // The text of a 422 may repeat the whole object, private keys included.
      const detail = status === 422 ? "the server finds the object invalid" : firstLine(message);
      return `${at}: cannot ${verb} ${object} ${where}: ${detail || "no reason given"} (${status})`;
    };
    return new ApiError(explain(), status, reason, subject, resume);
  }
}

function pathOf({ resource: { group, plural }, namespace, name }: Subject): string {
  const root = group === "" ? "/api/v1" : `/apis/${group}/v1`;
  const scope = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${root}${scope}/${plural}${name === undefined ? "" : `/${encodeURIComponent(name)}`}`;
}

function firstLine(text: string): string {
  return text.split("\n")[0]?.slice(0, 300) ?? "";
}
