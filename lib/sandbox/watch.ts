/** Watches: changes of a collection as a stream of JSON lines, from the history of the store. */
import { ServerResponse } from "node:http";
import type { Http2ServerResponse } from "node:http2";
import { EMPTY_FIELDS } from "./event-lease.ts";
import type { StoredChange } from "./history.ts";
import { type WatchOptions, watchOptions } from "./list-options.ts";
import { listSelector, selectObjects } from "./lists.ts";
import type { KubernetesObject } from "./object.ts";
import { type Representation, represent } from "./representations.ts";
import { type ApiTarget, apiVersion, resourceOf, type ServedResource } from "./resources.ts";
import type { FieldSelector } from "./selectors.ts";
import { expired, tooLargeVersion } from "./status.ts";
import type { Store } from "./store.ts";

type WatchEvent =
  | { type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK"; object: KubernetesObject }
  | { type: "ERROR"; object: unknown };

/** Sends a response whose body has no end known beforehand. */
export type EventStream = (response: Http2ServerResponse) => void;

/** Time between bookmarks, and from the last one to the end, as in kube-apiserver. */
const BOOKMARK_INTERVAL_MS = 60_000;
const LAST_BOOKMARK_MS = 2_000;
/** Least duration without `timeoutSeconds`; the longest is twice that. */
const DEFAULT_SECONDS = 1_800;
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Prepares a watch. Its stream ends after `timeoutSeconds`, after an ERROR (410 for a compacted version, 504 for one that the
 * server does not have), and if the client reads so slowly that changes it has not received are compacted.
 *
 * @throws StatusError 400, 422, 500 for invalid parameters
 */
export function watch(
  store: Store,
  target: ApiTarget,
  query: URLSearchParams,
  field: FieldSelector,
  representation: Representation,
): EventStream {
  const options = watchOptions(query);
  const selects = listSelector(target, query, field);
  return (response) => sendEvents(store, { resource: target.resource, options, selects, representation }, response);
}

interface Selection {
  resource: ServedResource;
  options: WatchOptions;
  selects: (object: KubernetesObject) => boolean;
  representation: Representation;
}

/** Yields the events of a watch, and undefined if there is none yet. The stream ends with the generator. */
function* eventsOf(
  { history }: Store,
  { resource, options, selects }: Selection,
  existing: readonly KubernetesObject[],
  cursor: { version: number },
): Generator<WatchEvent | undefined, void> {
  const { latest } = history;
  if (options.initial && options.minimum > latest) {
    yield { type: "ERROR", object: tooLargeVersion(options.minimum, latest).status };
    return;
  }
  if (!options.initial && history.isCompacted(cursor.version)) {
    yield { type: "ERROR", object: expired("watch").status };
    return;
  }
  for (const object of existing) yield { type: "ADDED", object };
  if (options.initial && options.bookmarks) {
    yield toBookmark(resource, cursor.version, { "k8s.io/initial-events-end": "true" });
  }
  while (!history.isCompacted(cursor.version)) {
    const change = history.next(cursor.version);
    if (change) cursor.version = change.version;
    const event = change && toEvent(change, resource, selects);
    if (event || !change) yield event;
  }
}

/**
 * Returns the event of a change, if it concerns a selected object. An object that leaves the selection is DELETED, with the
 * last state that was selected and the version of the change.
 */
function toEvent(
  { version, before, after }: StoredChange,
  { kind }: ServedResource,
  selects: Selection["selects"],
): WatchEvent | undefined {
  const wasSelected = before?.kind === kind && selects(before);
  const isSelected = after?.kind === kind && selects(after);
  if (isSelected) return { type: wasSelected ? "MODIFIED" : "ADDED", object: after };
  if (!wasSelected) return undefined;
  return { type: "DELETED", object: { ...before, metadata: { ...before.metadata, resourceVersion: String(version) } } };
}

function toBookmark({ kind }: ServedResource, version: number, annotations?: Record<string, string>): WatchEvent {
  const metadata = { resourceVersion: String(version), ...(annotations && { annotations }) };
  const resource = resourceOf(kind) as ServedResource;
  // It has no name.
  const object = { kind, apiVersion: apiVersion(resource), metadata, ...EMPTY_FIELDS[kind] } as object;
  return { type: "BOOKMARK", object: object as KubernetesObject };
}

/** Sends events as fast as the client reads them. What it has not read remains in the history, not in a buffer. */
function sendEvents(store: Store, selection: Selection, response: Http2ServerResponse): void {
  const { history } = store;
  const { resource, options, selects, representation } = selection;
  const cursor = { version: options.initial ? history.latest : (options.after ?? history.latest) };
  const events = eventsOf(store, selection, options.initial ? selectObjects(store, resource, selects) : [], cursor);
  let isBlocked = false;
  let isReleased = false;
  let sentVersion = cursor.version;
  const send = (event: WatchEvent) => {
    sentVersion = cursor.version;
    const object = event.type === "ERROR" ? event.object : represent(resource, event.object, representation);
    isBlocked = !response.write(`${JSON.stringify({ type: event.type, object })}\n`);
  };
  const sendAvailable = () => {
    if (isBlocked && !isReleased && history.isCompacted(cursor.version)) end();
    while (!isBlocked && !isReleased) {
      const { value, done } = events.next();
      if (done) return end();
      if (!value) return;
      send(value);
    }
  };
  const sendBookmark = () => {
    if (!isBlocked && cursor.version > sentVersion) send(toBookmark(resource, cursor.version));
  };
  const unsubscribe = history.subscribe(sendAvailable);
  const stopTimers = startTimers(options, sendBookmark, () => end());
  const release = () => {
    isReleased = true;
    unsubscribe();
    stopTimers();
  };
  const end = () => {
    release();
    response.end();
  };
  response.on("error", release);
  response.on("close", release);
  response.on("drain", () => {
    isBlocked = false;
    sendAvailable();
  });
  response.writeHead(200, { "content-type": "application/json", "cache-control": "no-cache, private" });
  // Over HTTP/2, the headers are sent already.
  const raw: object = response;
  if (raw instanceof ServerResponse) raw.flushHeaders();
  sendAvailable();
}

/**
 * Starts the timers of a watch.
 *
 * @returns a function that stops them
 */
function startTimers({ bookmarks, seconds }: WatchOptions, sendBookmark: () => void, end: () => void): () => void {
  const duration = Math.min((seconds ?? DEFAULT_SECONDS * (1 + Math.random())) * 1_000, MAX_TIMER_MS);
  const timers = [setTimeout(end, duration)];
  if (bookmarks) timers.push(setInterval(sendBookmark, BOOKMARK_INTERVAL_MS));
  if (bookmarks && duration > LAST_BOOKMARK_MS) timers.push(setTimeout(sendBookmark, duration - LAST_BOOKMARK_MS));
  return () => {
    for (const timer of timers) clearTimeout(timer);
  };
}
