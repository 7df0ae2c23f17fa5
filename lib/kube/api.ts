/** A Kubernetes API client over a transport, with the object types of `@kubernetes/client-node`. */
import type { KubernetesObject } from "@kubernetes/client-node";
import { linkAbort } from "../util/abort.ts";
import { isFields } from "../util/fields.ts";
import {
  ApiError,
  canI,
  createAccessReview,
  createApiError,
  describeApi,
  type ErrorContext,
  type StatusAnswer,
} from "./api-error.ts";
import { isWatchablePage, type ListPage, type PagingOptions, readPages, selectorsOf } from "./lists.ts";
import { pathOf, type Resource, type Subject } from "./resources.ts";
import { ConnectionError, type Request, type Transport } from "./transport/transport.ts";
import { parseObject, readWatchEvents, toMetadata, type WatchEvent } from "./watch-events.ts";

export { ApiError } from "./api-error.ts";
export {
  configMaps,
  daemonSets,
  deployments,
  events,
  leases,
  nodes,
  pods,
  type Resource,
  type Subject,
  secrets,
  services,
} from "./resources.ts";
export type { WatchEvent } from "./watch-events.ts";

/** Requests an object without its content. Servers and proxies that do not support this return the whole object. */
const METADATA_ONLY = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json";
const METADATA_LIST_ONLY = METADATA_ONLY.replace("PartialObjectMetadata", "PartialObjectMetadataList");
/** How long a watch may last beyond its `timeoutSeconds`. */
const END_TIMEOUT_MS = 30_000;

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

/** What a list for a watch, and the watch, select. */
export interface ObjectSelection {
  /** Default: all namespaces. */
  namespace?: string | undefined;
  /** Selects one object. A role that is limited to its name permits this. */
  name?: string | undefined;
  labelSelector?: string | undefined;
  /** Requests `metadata` alone, so that neither keys nor large data are transferred and kept. */
  metadataOnly?: boolean | undefined;
}

export interface WatchParameters extends ObjectSelection {
  /** Changes after this version are sent. */
  resourceVersion: string;
  /** When the server ends the watch. */
  timeoutSeconds: number;
  signal: AbortSignal;
  /** Called once the server has accepted the watch. */
  onOpen?(): void;
}

export interface KubernetesApiOptions extends ErrorContext {
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
      const object = await this.#send(subject, { method: "GET", path: pathOf(subject), accept });
      return this.#assertTexts(subject, object as T);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404 && error.reason === "NotFound") return undefined;
      throw error;
    }
  }

  /**
   * Lists objects in pages of at most 500. If the list expires (410), it is continued with the token from the error, at
   * the current resource version.
   *
   * @throws UserError (exit code 1) if the list has more than 1,000 pages.
   */
  async *list<T extends KubernetesObject>(
    resource: Resource<T>,
    { namespace, labelSelector, fieldSelector }: ListOptions = {},
  ): AsyncGenerator<T[]> {
    const query = { ...(labelSelector && { labelSelector }), ...(fieldSelector && { fieldSelector }) };
    const subject: Subject = { verb: "list", resource, namespace };
    for await (const page of this.#pages(subject, query, {})) {
      yield ((page.items ?? []) as T[]).map((item) => this.#assertTexts(subject, item));
    }
  }

  /** Returns an object whose labels, annotations and data are texts, as all callers expect. @throws ApiError otherwise. */
  #assertTexts<T extends KubernetesObject>(subject: Subject, object: T): T {
    const { metadata, data }: KubernetesObject & { data?: unknown } = object ?? {};
    if ([metadata?.labels, metadata?.annotations, data].every(isTextMap)) return object;
    throw this.#error(subject, 200, { message: "labels, annotations or data are not strings" });
  }

  /**
   * Lists objects together with the version from which they can be watched.
   *
   * @throws ApiError also if the list expires while it is read (410), or if the response is not such a list.
   * @throws the reason of the signal
   */
  async listAt<T extends KubernetesObject>(
    resource: Resource<T>,
    { namespace, name, labelSelector, metadataOnly = false }: ObjectSelection = {},
    signal?: AbortSignal,
  ): Promise<{ items: T[]; resourceVersion: string }> {
    const subject: Subject = { verb: "list", resource, namespace, name };
    const items: T[] = [];
    let resourceVersion: string | undefined;
    const accept = metadataOnly ? METADATA_LIST_ONLY : undefined;
    for await (const page of this.#pages(subject, selectorsOf({ name, labelSelector }), {
      accept,
      signal,
      isConsistent: true,
    })) {
      if (!isWatchablePage(page)) throw this.#error(subject, 200, { message: "response is not a list of objects" });
      for (const item of page.items ?? []) items.push((metadataOnly ? toMetadata(item) : item) as T);
      resourceVersion ??= page.metadata.resourceVersion;
    }
    return { items, resourceVersion: resourceVersion as string };
  }

  /**
   * Watches objects. The generator ends when the server ends the watch, which it should do after `timeoutSeconds`, and when the
   * signal aborts. The watch of a resourceVersion that is compacted is an ApiError with status 410.
   *
   * @throws ApiError for an error response, an ERROR event, and for anything that is not a watch event.
   * @throws ConnectionError if the connection is lost, or if the watch has not ended 30 s after `timeoutSeconds`.
   */
  async *watch<T extends KubernetesObject>(
    resource: Resource<T>,
    {
      namespace,
      name,
      labelSelector,
      resourceVersion,
      timeoutSeconds,
      metadataOnly = false,
      signal,
      onOpen,
    }: WatchParameters,
  ): AsyncGenerator<WatchEvent<T>, void> {
    const subject: Subject = { verb: "watch", resource, namespace, name };
    const query = new URLSearchParams({
      ...{ watch: "true", allowWatchBookmarks: "true", resourceVersion, timeoutSeconds: String(timeoutSeconds) },
      ...selectorsOf({ name, labelSelector }),
    });
    const request = { path: `${pathOf(subject)}?${query}`, accept: metadataOnly ? METADATA_ONLY : undefined };
    const { abort, unlink } = linkAbort(signal);
    const late = `the server has not ended the watch of ${resource.plural} after ${timeoutSeconds}s`;
    const onLate = () => abort.abort(new ConnectionError(`${describeApi(this.#options)}: ${late}`));
    const timer = setTimeout(onLate, timeoutSeconds * 1_000 + END_TIMEOUT_MS).unref();
    try {
      const { status, body } = await this.#transport.stream(request, abort.signal);
      if (status !== 200) {
        let text = "";
        // The body of an error response is complete; that of another has no limit.
        if (status >= 300) for await (const chunk of body) text += chunk;
        throw this.#error(subject, status, parseObject(text) ?? NOT_JSON);
      }
      onOpen?.();
      for await (const event of readWatchEvents(body, (code, answer) => this.#error(subject, code, answer))) {
        if (signal.aborted) return;
        yield (metadataOnly ? { ...event, object: toMetadata(event.object) } : event) as WatchEvent<T>;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      clearTimeout(timer);
      unlink();
      abort.abort();
    }
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
    const request: Request = {
      method: "POST",
      path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
      contentType: "application/json",
      body: JSON.stringify(createAccessReview(subject)),
    };
    const { status, body } = await this.#transport.request(request);
    const review = parseObject(body) as { status?: { allowed?: boolean } } | undefined;
    return status === 201 && review?.status?.allowed === false ? canI(subject, this.#options.flags) : undefined;
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

  #pages(subject: Subject, selectors: Record<string, string>, options: PageOptions): AsyncGenerator<ListPage> {
    const { accept, signal, ...others } = options;
    const send = (query: URLSearchParams) =>
      this.#send(subject, { method: "GET", path: `${pathOf(subject)}?${query}`, accept }, signal);
    return readPages(send, { ...others, selectors, describe: () => this.#describeList(subject) });
  }

  #describeList({ resource }: Subject): string {
    return `${describeApi(this.#options)}: list of ${resource.plural}`;
  }

  async #send(subject: Subject, request: Request, signal?: AbortSignal): Promise<unknown> {
    const { status, body } = await this.#transport.request(request, signal);
    const parsed = parseObject(body);
    if (parsed === undefined) throw this.#error(subject, status, NOT_JSON);
    if (status >= 200 && status < 300) return parsed;
    throw this.#error(subject, status, parsed);
  }

  #error(subject: Subject, status: number, answer: StatusAnswer): ApiError {
    return createApiError(subject, status, answer, this.#options);
  }
}

const NOT_JSON: StatusAnswer = { message: "response is not JSON; check that the server is a Kubernetes API server" };

interface PageOptions extends Pick<PagingOptions, "isConsistent"> {
  accept?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** Whether a value is an object whose values are strings. Go writes empty maps and values as null. */
function isTextMap(value: unknown): boolean {
  const isText = (one: unknown) => one === null || typeof one === "string";
  return value === undefined || value === null || (isFields(value) && Object.values(value).every(isText));
}
