/** Query parameters of lists and watches, with the rules of kube-apiserver. */
import { badRequest, type Cause, invalid, StatusError } from "./status.ts";

export interface WatchOptions {
  /** Changes after this version are sent; undefined: after the current one. */
  after: number | undefined;
  /** Whether the existing objects are sent first, as ADDED. */
  initial: boolean;
  /** With `initial`: the version that the server must have. */
  minimum: number;
  bookmarks: boolean;
  /** Time until the response ends; undefined: the server's choice. */
  seconds: number | undefined;
}

/**
 * Reads a Boolean parameter as kube-apiserver does: everything but `false` and `0` is true.
 *
 * @returns undefined if it is missing
 */
export function booleanOption(query: URLSearchParams, name: string): boolean | undefined {
  const value = query.get(name);
  return value === null ? undefined : !/^(?:false|0)$/i.test(value);
}

/**
 * Reads the parameters of a watch. Without `resourceVersion`, or with 0, it starts with the existing objects.
 *
 * @throws StatusError 400, 422 for parameters that exclude one another, 500 for a resourceVersion that is not a number
 */
export function watchOptions(query: URLSearchParams): WatchOptions {
  checkMatch(query);
  const seconds = query.get("timeoutSeconds") ?? "0";
  if (!/^-?\d+$/.test(seconds))
    throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(seconds)}: invalid syntax`);
  const version = query.get("resourceVersion") || "0";
  if (!/^\d+$/.test(version)) {
    const why = `strconv.ParseUint: parsing ${JSON.stringify(version)}: invalid syntax`;
    throw new StatusError(500, undefined, `resourceVersion: Invalid value: ${JSON.stringify(version)}: ${why}`);
  }
  const minimum = Number(version);
  return {
    after: minimum || undefined,
    initial: booleanOption(query, "sendInitialEvents") ?? minimum === 0,
    minimum,
    bookmarks: booleanOption(query, "allowWatchBookmarks") ?? false,
    seconds: Number(seconds) || undefined,
  };
}

function checkMatch(query: URLSearchParams): void {
  const match = query.get("resourceVersionMatch") ?? "";
  const initial = booleanOption(query, "sendInitialEvents");
  const causes: Cause[] = [];
  const add = (reason: string, message: string) => causes.push({ reason, message, field: "resourceVersionMatch" });
  const forbid = (message: string) => add("FieldValueForbidden", `Forbidden: ${message}`);
  if (initial !== undefined && match !== "NotOlderThan") {
    forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
  }
  if (match !== "" && initial === undefined) {
    forbid("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
  }
  if (match !== "" && match !== "NotOlderThan") {
    add("FieldValueNotSupported", `Unsupported value: ${JSON.stringify(match)}: supported values: "NotOlderThan"`);
  }
  if (query.get("continue")) forbid("resourceVersionMatch is forbidden when continue is provided");
  if (causes.length > 0) throw invalid({ kind: "ListOptions", group: "meta.k8s.io" }, causes);
}
