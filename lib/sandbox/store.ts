import { randomBytes, randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { History, type HistoryLimits } from "./history.ts";
import { type KubernetesObject, timestamp } from "./object.ts";
import { missingMounts, podStatus } from "./pods.ts";
import { type ApiTarget, type ObjectTarget, resourceOf, type ServedResource } from "./resources.ts";
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
import { validate } from "./validate.ts";

/** The objects of one cluster. Writes are checked as in an API server, except by `put` and `remove`. */
export class Store {
  readonly history: History;
  readonly #objects = new Map<string, KubernetesObject>();

  /** @param limits - of the history */
  constructor(limits: Partial<HistoryLimits> = {}) {
    this.history = new History(limits);
  }

  /** The version of the last write. */
  get resourceVersion(): string {
    return String(this.history.latest);
  }

  /**
   * Stores an object unchecked, as another client's write would; missing metadata is filled in.
   *
   * @throws TypeError for a kind that is not served, or a namespace that is missing or not allowed
   */
  put(object: KubernetesObject): KubernetesObject {
    const resource = resourceOf(object.kind);
    if (!resource) throw new TypeError(`kind not served by the sandbox: ${object.kind}`);
    const { kind } = resource;
    const { namespace, name } = object.metadata;
    if (resource.namespaced !== (namespace !== undefined)) {
      throw new TypeError(`${kind}/${name}: metadata.namespace is ${namespace ? "not allowed" : "required"}`);
    }
    if (namespace !== undefined && !this.read("Namespace", undefined, namespace)) {
      this.put({ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace }, status: { phase: "Active" } });
    }
    const old = this.read(kind, namespace, name);
    const stored = structuredClone(object);
    stored.metadata = {
      ...serverMetadata(old),
      ...(resource.group === "apps" && { generation: 1 }),
      ...stored.metadata,
    };
    this.#write(stored);
    if (!old) this.#startPods(stored);
    return structuredClone(stored);
  }

  /** Removes an object unchecked; returns whether it existed. */
  remove(kind: string, namespace: string | undefined, name: string): boolean {
    const key = keyOf(kind, namespace, name);
    const object = this.#objects.get(key);
    if (!object) return false;
    this.#objects.delete(key);
    this.history.append(object, undefined);
    return true;
  }

  /** Returns a copy of an object. */
  read(kind: string, namespace: string | undefined, name: string): KubernetesObject | undefined {
    return structuredClone(this.#objects.get(keyOf(kind, namespace, name)));
  }

  /** Returns copies of all objects of a kind, by default the current ones, else those of a version that is not compacted. */
  all(kind: string, version = this.history.latest): KubernetesObject[] {
    const objects = new Map(this.#ofKind(kind).map((object) => [keyOfObject(object), object]));
    for (const { before, after } of this.history.changesBackTo(version)) {
      if (before?.kind === kind) objects.set(keyOfObject(before), before);
      else if (after?.kind === kind) objects.delete(keyOfObject(after));
    }
    return [...objects.values()].map((object) => structuredClone(object));
  }

  /** Whether an object exists. */
  has({ resource, namespace, name }: ObjectTarget): boolean {
    return this.#objects.has(keyOf(resource.kind, namespace, name));
  }

  /** @throws StatusError 404 */
  existing({ resource, namespace, name }: ObjectTarget): KubernetesObject {
    const object = this.read(resource.kind, namespace, name);
    if (!object) throw notFound(resource, name);
    return object;
  }

  /** @throws StatusError 400 for another namespace, 404 for a missing one, 409, 422 */
  create({ resource, namespace }: ApiTarget, object: KubernetesObject, dryRun: boolean): KubernetesObject {
    const meta = object.metadata;
    if (namespace !== undefined) {
      checkNamespace(meta.namespace, namespace);
      meta.namespace = namespace;
      this.existing({ resource: resourceOf("Namespace") as ServedResource, namespace: undefined, name: namespace });
    }
    if (meta.resourceVersion) {
      throw new StatusError(500, undefined, "resourceVersion should not be set on objects to be created");
    }
    if (!meta.name && meta.generateName) meta.name = `${meta.generateName}${randomBytes(3).toString("hex").slice(1)}`;
    if (resource.kind === "Secret") object.type ??= "Opaque";
    if (resource.kind === "Namespace") object.status = { phase: "Active" };
    validate(resource, object, undefined);
    if (this.read(resource.kind, namespace, meta.name)) throw alreadyExists(resource, meta.name);
    object.metadata = { ...meta, ...serverMetadata(undefined) };
    return dryRun ? object : this.put(object);
  }

  /**
   * Replaces an object with the result of `change`.
   *
   * @param options - `verb`: determines the error for a different `uid`
   * @throws StatusError 400, 404, 409 if the result has a different `resourceVersion` or `uid`, 422
   */
  update(
    target: ObjectTarget,
    change: (current: KubernetesObject) => KubernetesObject,
    options: { verb: "update" | "patch"; dryRun: boolean },
  ): KubernetesObject {
    const { resource, namespace, name } = target;
    const current = this.existing(target);
    const next = change(structuredClone(current));
    const meta = next.metadata;
    checkName(meta.name, name);
    checkNamespace(meta.namespace, namespace);
    if (resource.versionedUpdates && !meta.resourceVersion) throw versionRequired(resource, name);
    checkVersion(target, meta.resourceVersion, current.metadata.resourceVersion);
    checkUid(target, meta.uid, current.metadata.uid, options.verb);
    if (resource.kind === "Secret") next.type ??= "Opaque";
    if (resource.status) next.status = current.status;
    if (next.status === undefined) delete next.status;
    const { generation } = current.metadata;
    next.metadata = {
      ...meta,
      ...(namespace !== undefined && { namespace }),
      ...serverMetadata(current),
      resourceVersion: current.metadata.resourceVersion as string,
    };
    if (generation === undefined) delete next.metadata.generation;
    else next.metadata.generation = isDeepStrictEqual(next.spec, current.spec) ? generation : generation + 1;
    if (next.status?.observedGeneration !== undefined) {
      next.status = { ...next.status, observedGeneration: next.metadata.generation };
    }
    validate(resource, next, current);
    return options.dryRun || isDeepStrictEqual(next, current) ? next : this.put(next);
  }

  /** @throws StatusError 404, 409 if a precondition fails, 501 for a namespace */
  delete(
    target: ObjectTarget,
    preconditions: { uid?: string; resourceVersion?: string },
    dryRun: boolean,
  ): KubernetesObject {
    const { resource, namespace, name } = target;
    if (resource.kind === "Namespace") throw notImplemented("deleting namespaces");
    const current = this.existing(target);
    for (const field of ["uid", "resourceVersion"] as const) {
      const [expected, found] = [preconditions[field], current.metadata[field]];
      if (expected !== undefined && expected !== found) throw failedPrecondition(target, field, expected, found);
    }
    if (!dryRun) this.remove(resource.kind, namespace, name);
    return current;
  }

  #ofKind(kind: string): KubernetesObject[] {
    return [...this.#objects.values()].filter((object) => object.kind === kind);
  }

  /** Stores an object with the next version, and records the change. */
  #write(object: KubernetesObject): void {
    const key = keyOfObject(object);
    const before = this.#objects.get(key);
    object.metadata.resourceVersion = String(this.history.latest + 1);
    this.#objects.set(key, object);
    this.history.append(before, object);
  }

  /** Starts the pods whose only missing mount was this ConfigMap or Secret. */
  #startPods(added: KubernetesObject): void {
    const { namespace, name } = added.metadata;
    if (added.kind !== "ConfigMap" && added.kind !== "Secret") return;
    const exists = (kind: string, mounted: string) => this.read(kind, namespace, mounted) !== undefined;
    const existedBefore = (kind: string, mounted: string) =>
      exists(kind, mounted) && !(kind === added.kind && mounted === name);
    for (const pod of this.#ofKind("Pod")) {
      if (pod.metadata.namespace !== namespace || pod.status?.phase !== "Pending") continue;
      const wasWaiting = missingMounts(pod, existedBefore).length > 0;
      if (!wasWaiting || missingMounts(pod, exists).length > 0) continue;
      this.#write({ ...pod, metadata: { ...pod.metadata }, status: podStatus(pod, true, timestamp(new Date())) });
    }
  }
}

/** Returns the metadata that the server sets; that of `old`, if given. */
function serverMetadata(old: KubernetesObject | undefined): { uid: string; creationTimestamp: string } {
  return {
    uid: old?.metadata.uid ?? randomUUID(),
    creationTimestamp: old?.metadata.creationTimestamp ?? timestamp(new Date()),
  };
}

/** @throws StatusError 400 unless an object has the name of its path */
export function checkName(given: string, requested: string): void {
  if (given === requested) return;
  throw badRequest(`the name of the object (${given}) does not match the name on the URL (${requested})`);
}

function checkNamespace(given: string | undefined, requested: string | undefined): void {
  if ((given || requested) === requested) return;
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

function versionRequired({ plural: kind, group }: ServedResource, name: string): StatusError {
  const message = "Invalid value: 0: must be specified for an update";
  return invalid({ kind, group, name }, [{ reason: "FieldValueInvalid", message, field: "metadata.resourceVersion" }]);
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

function keyOfObject({ kind, metadata: { namespace, name } }: KubernetesObject): string {
  return keyOf(kind, namespace, name);
}

function keyOf(kind: string, namespace: string | undefined, name: string): string {
  return `${kind}/${namespace ?? ""}/${name}`;
}
