import { randomBytes, randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { type KubernetesObject, timestamp } from "./object.ts";
import { missingMounts, podStatus } from "./pods.ts";
import {
  type ApiTarget,
  CREATABLE,
  type ObjectTarget,
  RESOURCES,
  resourceOf,
  type ServedResource,
} from "./resources.ts";
import {
  alreadyExists,
  badRequest,
  conflict,
  failedPrecondition,
  invalid,
  notFound,
  notImplemented,
  StatusError,
} from "./status.ts";
import { decodeBody, validate } from "./validate.ts";

export interface ListQuery {
  namespace: string | undefined;
  test: (object: KubernetesObject) => boolean;
  /** Whether a selector is set: then nobody counts what remains. */
  selective: boolean;
  /** 0: all at once. */
  limit: number;
  continue: string | undefined;
}

export interface DeletePreconditions {
  uid?: string;
  resourceVersion?: string;
}

/** The objects of one cluster, and the rules by which an API server lets them be written. */
export class Store {
  readonly #objects = new Map<ServedResource, Map<string, KubernetesObject>>(
    RESOURCES.map((resource) => [resource, new Map()]),
  );
  #version = 1;

  /** Puts an object there as it is, without a check, as somebody else's write; what metadata it lacks is filled in. */
  put(object: KubernetesObject): KubernetesObject {
    const resource = resourceOf(object.kind);
    if (!resource) throw new TypeError(`no kind of the sandbox: ${object.kind}`);
    const { namespace, name } = object.metadata;
    if (resource.namespaced !== (namespace !== undefined)) throw new TypeError(`${object.kind} ${name}: namespace?`);
    if (namespace !== undefined && !this.read("Namespace", undefined, namespace)) {
      this.put({ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace }, status: { phase: "Active" } });
    }
    const old = this.get({ resource, namespace, name });
    const stored = structuredClone(object);
    stored.metadata = {
      ...identity(old),
      ...(resource.group === "apps" && { generation: 1 }),
      ...stored.metadata,
      resourceVersion: this.#next(),
    };
    this.#map(resource).set(key(namespace, name), stored);
    if (!old) this.#startPods(stored);
    return structuredClone(stored);
  }

  /** Takes an object away; whether it was there. */
  remove(kind: string, namespace: string | undefined, name: string): boolean {
    const resource = resourceOf(kind);
    return resource !== undefined && this.#map(resource).delete(key(namespace, name));
  }

  /** An object as it now stands. */
  read(kind: string, namespace: string | undefined, name: string): KubernetesObject | undefined {
    const resource = resourceOf(kind);
    return resource && this.get({ resource, namespace, name });
  }

  /** All objects of a kind. */
  all(kind: string): KubernetesObject[] {
    const resource = resourceOf(kind);
    return resource ? [...this.#map(resource).values()].map((object) => structuredClone(object)) : [];
  }

  get({ resource, namespace, name }: ObjectTarget): KubernetesObject | undefined {
    const object = this.#map(resource).get(key(namespace, name));
    return object && structuredClone(object);
  }

  /**
   * One page, in the order of namespace and name. Later pages show the objects as they then are.
   *
   * @throws StatusError 400 for a continue token that isn't one of ours
   */
  list(resource: ServedResource, query: ListQuery): { metadata: Record<string, unknown>; items: KubernetesObject[] } {
    const after = query.continue === undefined ? undefined : readToken(query.continue);
    const entries = [...this.#map(resource)]
      .filter(([at, object]) => (after === undefined || at > after) && query.test(object))
      .filter(([, object]) => query.namespace === undefined || object.metadata.namespace === query.namespace)
      .sort(([a], [b]) => (a < b ? -1 : 1));
    const page = query.limit > 0 ? entries.slice(0, query.limit) : entries;
    const last = page.at(-1);
    const rest = entries.length - page.length;
    return {
      metadata: {
        resourceVersion: String(this.#version),
        ...(rest > 0 && last && { continue: writeToken(last[0]) }),
        ...(rest > 0 && !query.selective && { remainingItemCount: rest }),
      },
      items: page.map(([, object]) => structuredClone(object)),
    };
  }

  /** @throws StatusError 400, 404 (namespace), 409, 422, 501 for a kind that needs controllers we haven't got */
  create({ resource, namespace }: ApiTarget, body: unknown, dryRun: boolean): KubernetesObject {
    if (!CREATABLE.includes(resource.kind)) throw notImplemented(`creating ${resource.plural}`);
    const object = decodeBody(resource, body);
    const meta = object.metadata;
    if (namespace !== undefined) {
      checkNamespace(meta.namespace, namespace);
      meta.namespace = namespace;
      if (!this.read("Namespace", undefined, namespace))
        throw notFound(resourceOf("Namespace") as ServedResource, namespace);
    }
    if (meta.resourceVersion) {
      throw new StatusError(500, undefined, "resourceVersion should not be set on objects to be created");
    }
    if (!meta.name && meta.generateName) meta.name = `${meta.generateName}${randomBytes(3).toString("hex").slice(1)}`;
    if (resource.kind === "Secret") object.type ??= "Opaque";
    if (resource.kind === "Namespace") object.status = { phase: "Active" };
    validate(resource, object, undefined);
    if (this.get({ resource, namespace, name: meta.name })) throw alreadyExists(resource, meta.name);
    object.metadata = { ...meta, ...identity(undefined) };
    return dryRun ? object : this.put(object);
  }

  /**
   * Replaces an object by what `change` makes of it.
   *
   * @param how `verb`: how the change was asked for, by which the error for another `uid` differs
   * @throws StatusError 400, 404, 409 where the `resourceVersion` or `uid` it then has is another, 422
   */
  update(
    target: ObjectTarget,
    change: (current: KubernetesObject) => KubernetesObject,
    how: { verb: "update" | "patch"; dryRun: boolean },
  ): KubernetesObject {
    const { resource, namespace, name } = target;
    const current = this.#existing(target);
    const next = change(structuredClone(current));
    const meta = next.metadata;
    if (meta.name !== name) {
      throw badRequest(`the name of the object (${meta.name}) does not match the name on the URL (${name})`);
    }
    checkNamespace(meta.namespace, namespace);
    checkVersion(target, meta.resourceVersion, current.metadata.resourceVersion);
    checkUid(target, meta.uid, current.metadata.uid, how.verb);
    if (resource.kind === "Secret") next.type ??= "Opaque";
    if (resource.status) next.status = current.status;
    if (next.status === undefined) delete next.status;
    const { generation } = current.metadata;
    next.metadata = {
      ...meta,
      ...(namespace !== undefined && { namespace }),
      ...identity(current),
      resourceVersion: current.metadata.resourceVersion as string,
    };
    if (generation === undefined) delete next.metadata.generation;
    else next.metadata.generation = isDeepStrictEqual(next.spec, current.spec) ? generation : generation + 1;
    validate(resource, next, current);
    return how.dryRun || isDeepStrictEqual(next, current) ? next : this.put(next);
  }

  /** @throws StatusError 404, 409 where a precondition fails, 501 for a namespace */
  delete(target: ObjectTarget, preconditions: DeletePreconditions, dryRun: boolean): KubernetesObject {
    const { resource, namespace, name } = target;
    if (resource.kind === "Namespace") throw notImplemented("deleting namespaces");
    const current = this.#existing(target);
    for (const field of ["uid", "resourceVersion"] as const) {
      const [wanted, found] = [preconditions[field], current.metadata[field]];
      if (wanted !== undefined && wanted !== found) throw failedPrecondition(target, field, wanted, found);
    }
    if (!dryRun) this.#map(resource).delete(key(namespace, name));
    return current;
  }

  #existing(target: ObjectTarget): KubernetesObject {
    const object = this.get(target);
    if (!object) throw notFound(target.resource, target.name);
    return object;
  }

  #map(resource: ServedResource): Map<string, KubernetesObject> {
    return this.#objects.get(resource) as Map<string, KubernetesObject>;
  }

  #next(): string {
    this.#version += 1;
    return String(this.#version);
  }

  /** A pod that waited for just this ConfigMap or Secret starts. */
  #startPods(added: KubernetesObject): void {
    const { namespace, name } = added.metadata;
    if (added.kind !== "ConfigMap" && added.kind !== "Secret") return;
    const pods = this.#map(resourceOf("Pod") as ServedResource);
    const exists = (kind: string, of: string) => this.read(kind, namespace, of) !== undefined;
    for (const pod of pods.values()) {
      if (pod.metadata.namespace !== namespace || pod.status?.phase !== "Pending") continue;
      const before = missingMounts(pod, (kind, of) => exists(kind, of) && !(kind === added.kind && of === name));
      if (before.length === 0 || missingMounts(pod, exists).length > 0) continue;
      pod.status = podStatus(pod, true, timestamp(new Date()));
      pod.metadata.resourceVersion = this.#next();
    }
  }
}

/** What the server itself says of an object: kept from `old`, or made. */
function identity(old: KubernetesObject | undefined): { uid: string; creationTimestamp: string } {
  return {
    uid: old?.metadata.uid ?? randomUUID(),
    creationTimestamp: old?.metadata.creationTimestamp ?? timestamp(new Date()),
  };
}

function checkNamespace(of: string | undefined, wanted: string | undefined): void {
  if ((of || wanted) === wanted) return;
  throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
}

function checkVersion({ resource, name }: ObjectTarget, version: string | undefined, found: string | undefined): void {
  if (!version || version === found) return;
  if (!/^\d+$/.test(version)) {
    throw new StatusError(500, undefined, `strconv.ParseUint: parsing "${version}": invalid syntax`);
  }
  const why = "the object has been modified; please apply your changes to the latest version and try again";
  throw conflict(resource, name, why);
}

function checkUid(
  { resource, name }: ObjectTarget,
  uid: string | undefined,
  found: string | undefined,
  verb: "update" | "patch",
): void {
  if (!uid || uid === found) return;
  if (verb === "update") {
    throw conflict(resource, name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${found}`);
  }
  const message = `Invalid value: ${JSON.stringify(uid)}: field is immutable`;
  throw invalid({ ...resource, name }, [{ reason: "FieldValueInvalid", message, field: "metadata.uid" }]);
}

function key(namespace: string | undefined, name: string): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

function writeToken(last: string): string {
  return Buffer.from(JSON.stringify({ after: last })).toString("base64url");
}

function readToken(token: string): string {
  try {
    const { after } = JSON.parse(Buffer.from(token, "base64url").toString());
    if (typeof after === "string") return after;
  } catch {
    // no JSON: not ours
  }
  throw badRequest("continue key is not valid");
}
