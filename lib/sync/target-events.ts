/**
 * Kubernetes Events on the Secret `cilium-clustermesh` of a target: what `sync` wrote, and what it holds and why, for
 * `kubectl describe secret` and `kubectl get events`.
 *
 * As client-go's correlator does: a repetition raises the count of its Event, and the number of Events on one object is
 * limited. Events are hints that may be lost, so no error of theirs fails anything.
 */
import { createHash } from "node:crypto";
import type { CoreV1Event } from "@kubernetes/client-node";
import { ApiError, events, type KubernetesApi, secrets } from "../kube/api.ts";
import { redactKeys } from "../peer/findings.ts";
import { AGENTS_SECRET } from "../peer/peer.ts";
import { enumerate } from "../util/enumerate.ts";
import { UserError } from "../util/errors.ts";
import type { HeldRecord } from "./state.ts";

const COMPONENT = "clustermesh-secrets";
/** Least time between two writes of one Event, in milliseconds. */
const REPEAT_MS = 60_000;
/** After this time an API server deletes an Event that was not written meanwhile, by default; in milliseconds. */
const TTL_MS = 3_600_000;
/** Of Events on one object at once, and how long until one more is allowed, in milliseconds. */
const LIMIT = { burst: 25, refill: 60_000 } as const;
/** API servers refuse longer messages in the newer form of Events. */
const MAX_MESSAGE = 1024;
/** API servers refuse longer names of instances. */
const MAX_INSTANCE = 128;
/** Holds that end by themselves. */
const WAITS: readonly HeldRecord["reason"][] = ["address-grace", "ca-order"];

/** What happened in one reconciliation of a target. */
export interface TargetNews {
  /** Objects that were written, such as `secret/cilium-clustermesh`. */
  objects: readonly string[];
  /** The peers in them that were added, changed or removed. */
  peers: readonly string[];
  /** What is held; repeated for as long as it is. */
  held: readonly HeldRecord[];
}

export interface TargetEventsOptions {
  /** The name of this process, such as that of its pod. */
  instance: string;
  /** Returns the current time. */
  now(): Date;
  /** Called once for a cluster in which no Events can be created. */
  onDenied(cluster: string, error: ApiError): void;
}

/** A target with the API of its cluster. */
export interface EventTarget {
  /** Cluster name. */
  cluster: string;
  api: KubernetesApi;
  /** The namespace of Cilium. */
  namespace: string;
}

/** An Event before it is written. */
interface Draft {
  type: "Normal" | "Warning";
  reason: "PeersUpdated" | "PeerHeld";
  message: string;
  /** What it is about, whatever its message. */
  topic: string;
}

/** Writes Events for all targets of one process. */
export class TargetEvents {
  readonly #options: TargetEventsOptions;
  /** When a topic was last written, by cluster and topic. */
  readonly #topics = new Map<string, Date>();
  /** How often an Event was written, by cluster and name. */
  readonly #counts = new Map<string, { count: number; last: Date }>();
  readonly #limits = new Map<string, { left: number; at: number }>();
  readonly #denied = new Set<string>();

  constructor(options: TargetEventsOptions) {
    this.#options = options;
  }

  /**
   * Creates or repeats the Events of one reconciliation, in sequence; nothing if the target has no Secret.
   *
   * @throws any error that is not a UserError.
   */
  async report(target: EventTarget, news: TargetNews): Promise<void> {
    const { api, namespace } = target;
    const drafts = this.#selectDue(target.cluster, toDrafts(news));
    if (drafts.length === 0) return;
    try {
      const secret = await api.get(secrets, namespace, AGENTS_SECRET, { metadataOnly: true });
      const uid = secret?.metadata?.uid;
      if (uid === undefined) return;
      for (const draft of drafts) await this.#write(target, uid, draft);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      if (error instanceof ApiError && error.status === 403 && !this.#denied.has(target.cluster)) {
        this.#denied.add(target.cluster);
        this.#options.onDenied(target.cluster, error);
      }
    }
  }

  /** Removes what is known of a cluster that is not a member any more. */
  remove(cluster: string): void {
    this.#limits.delete(cluster);
    this.#denied.delete(cluster);
    for (const map of [this.#topics, this.#counts]) {
      for (const key of map.keys()) if (key.startsWith(`${cluster}/`)) map.delete(key);
    }
  }

  /** Selects the Events whose topics were not written within a minute, as far as the limit of the object permits. */
  #selectDue(cluster: string, drafts: readonly Draft[]): Draft[] {
    if (this.#denied.has(cluster)) return [];
    const now = this.#options.now();
    const ageOf = (time: Date) => now.getTime() - time.getTime();
    for (const [key, last] of this.#topics) if (ageOf(last) > TTL_MS) this.#topics.delete(key);
    for (const [key, { last }] of this.#counts) if (ageOf(last) > TTL_MS) this.#counts.delete(key);
    return drafts.filter(({ topic }) => {
      const key = `${cluster}/${topic}`;
      const last = this.#topics.get(key);
      if (last !== undefined && ageOf(last) < REPEAT_MS) return false;
      if (!this.#takeToken(cluster, now.getTime())) return false;
      this.#topics.set(key, now);
      return true;
    });
  }

  #takeToken(cluster: string, now: number): boolean {
    const { left, at } = this.#limits.get(cluster) ?? { left: LIMIT.burst, at: now };
    const available = Math.min(LIMIT.burst, left + (now - at) / LIMIT.refill);
    if (available >= 1) this.#limits.set(cluster, { left: available - 1, at: now });
    return available >= 1;
  }

  async #write({ api, namespace, cluster }: EventTarget, uid: string, draft: Draft): Promise<void> {
    const last = this.#options.now();
    const event = toEvent(draft, { namespace, uid, instance: this.#options.instance, now: last });
    const name = event.metadata.name ?? "";
    const key = `${cluster}/${name}`;
    const patch = (fields: object) => api.mergePatch<CoreV1Event>(events, namespace, name, fields);
    const known = this.#counts.get(key);
    if (known !== undefined) {
      const count = known.count + 1;
      const isPatched = await unlessStatus(404, patch({ count, lastTimestamp: last }));
      if (isPatched) {
        this.#counts.set(key, { count, last });
        return;
      }
    }
    const created = await unlessStatus(409, api.create(events, namespace, event));
    if (created) {
      this.#counts.set(key, { count: 1, last });
      return;
    }
    // An earlier process created it. The answer to a patch has its count, without a permission to read Events.
    const { count = 1 } = await patch({ lastTimestamp: last });
    await patch({ count: count + 1 });
    this.#counts.set(key, { count: count + 1, last });
  }
}

/** Awaits a response; undefined for an error response with the status. */
async function unlessStatus<T>(status: number, response: Promise<T>): Promise<T | undefined> {
  try {
    return await response;
  } catch (error) {
    if (error instanceof ApiError && error.status === status) return undefined;
    throw error;
  }
}

function toDrafts({ objects, peers, held }: TargetNews): Draft[] {
  const names = [...peers].sort();
  const written: Draft[] =
    objects.length === 0
      ? []
      : [
          {
            ...{ type: "Normal", reason: "PeersUpdated", topic: `PeersUpdated ${JSON.stringify(names)}` },
            message: `wrote ${enumerate(objects)}${names.length === 0 ? "" : ` for ${listPeers(names)}`}`,
          },
        ];
  const groups = new Map<string, [HeldRecord, ...HeldRecord[]]>();
  for (const record of held) {
    const key = JSON.stringify([record.reason, record.message, record.peer === undefined]);
    const group = groups.get(key);
    if (group) group.push(record);
    else groups.set(key, [record]);
  }
  return [...written, ...[...groups.values()].map(toHeldDraft)];
}

function toHeldDraft(records: readonly [HeldRecord, ...HeldRecord[]]): Draft {
  const [{ reason, message, remedy }] = records;
  const names = records.flatMap(({ peer = [] }) => peer).sort();
  const what = names.length === 0 ? "all peers" : listPeers(names);
  return {
    ...{ type: WAITS.includes(reason) ? "Normal" : "Warning", reason: "PeerHeld" },
    topic: `PeerHeld ${reason} ${JSON.stringify(names)}`,
    message: `holding ${what}: ${message} [${reason}]${remedy === undefined ? "" : `; ${remedy}`}`,
  };
}

function listPeers(names: readonly string[]): string {
  return `${names.length === 1 ? "peer" : "peers"} ${enumerate(names)}`;
}

/** The object of an Event, and who reports it. */
interface EventSubject {
  namespace: string;
  /** Of the Secret. */
  uid: string;
  instance: string;
  now: Date;
}

/** Builds an Event whose name follows from its content, so that a repetition finds it. */
function toEvent(
  { type, reason, topic, message }: Draft,
  { namespace, uid, instance, now }: EventSubject,
): CoreV1Event {
  const text = toLine(message);
  const content = JSON.stringify([uid, type, reason, topic, text]);
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 16);
  return {
    ...{ apiVersion: "v1", kind: "Event" },
    metadata: { name: `${AGENTS_SECRET}.${hash}`, namespace },
    involvedObject: { apiVersion: "v1", kind: "Secret", name: AGENTS_SECRET, namespace, uid },
    ...{ type, reason, message: text, count: 1, firstTimestamp: now, lastTimestamp: now },
    source: { component: COMPONENT },
    ...{ reportingComponent: COMPONENT, reportingInstance: instance.slice(0, MAX_INSTANCE) },
  };
}

/** Reduces a message, parts of which servers may have sent, to a line that `kubectl describe` prints as it is. */
function toLine(text: string): string {
  const line = redactKeys(text).replace(/\n\s*/g, "; ");
  return line.replace(/\p{C}|\p{Zl}|\p{Zp}/gu, "?").slice(0, MAX_MESSAGE);
}
