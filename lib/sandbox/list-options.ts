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
  checkWatchMatch(query);
  const seconds = query.get("timeoutSeconds") ?? "0";
  if (!/^-?\d+$/.test(seconds))
    throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(seconds)}: invalid syntax`);
  const version = query.get("resourceVersion") || "0";
  if (!/^\d+$/.test(version)) {
    throw new StatusError(500, undefined, invalidVersion(version));
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

export interface ListParameters {
  /** The exact version to list; undefined: the current one. */
  version: number | undefined;
  /** The version that the server must have. */
  minimum: number;
  /** 0: no limit. */
  limit: number;
  /** Empty for a first page. */
  continuation: string;
}

/**
 * Reads the parameters of a list. A `resourceVersion` is a minimum, and with `resourceVersionMatch=Exact` or with a limit the
 * exact version.
 *
 * @throws StatusError 400 or 422
 */
export function listOptions(query: URLSearchParams): ListParameters {
  checkListMatch(query);
  const limit = query.get("limit") ?? "0";
  if (!/^\d+$/.test(limit)) throw badRequest(`invalid limit ${limit}`);
  const given = query.get("resourceVersion") || "0";
  if (!/^\d+$/.test(given)) throw badRequest(`invalid resource version: ${invalidVersion(given)}`);
  const continuation = query.get("continue") ?? "";
  const minimum = Number(given);
  if (continuation && minimum > 0) throw badRequest("specifying resource version is not allowed when using continue");
  const match = query.get("resourceVersionMatch") || (Number(limit) > 0 ? "Exact" : "NotOlderThan");
  const version = match === "Exact" && minimum > 0 ? minimum : undefined;
  return { version, minimum, limit: Number(limit), continuation };
}

function checkListMatch(query: URLSearchParams): void {
  const causes = new Causes();
  if (query.has("sendInitialEvents")) causes.forbid("sendInitialEvents is forbidden for list", "sendInitialEvents");
  const match = query.get("resourceVersionMatch") ?? "";
  const version = query.get("resourceVersion") ?? "";
  if (match !== "") {
    if (version === "") causes.forbid("resourceVersionMatch is forbidden unless resourceVersion is provided");
    if (query.get("continue")) causes.forbid("resourceVersionMatch is forbidden when continue is provided");
    if (!["Exact", "NotOlderThan"].includes(match)) causes.refuse(match, ["Exact", "NotOlderThan", ""]);
    if (match === "Exact" && version === "0") {
      causes.forbid('resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
    }
  }
  causes.throwAny();
}

function checkWatchMatch(query: URLSearchParams): void {
  const match = query.get("resourceVersionMatch") ?? "";
  const initial = booleanOption(query, "sendInitialEvents");
  const causes = new Causes();
  if (initial !== undefined && match !== "NotOlderThan") {
    causes.forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
  }
  if (match !== "" && initial === undefined) {
    causes.forbid("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
  }
  if (match !== "" && match !== "NotOlderThan") causes.refuse(match, ["NotOlderThan"]);
  if (query.get("continue")) causes.forbid("resourceVersionMatch is forbidden when continue is provided");
  causes.throwAny();
}

/** Violations of the parameters, by default of `resourceVersionMatch`. */
class Causes {
  readonly #causes: Cause[] = [];

  forbid(why: string, field = "resourceVersionMatch"): void {
    this.#causes.push({ reason: "FieldValueForbidden", message: `Forbidden: ${why}`, field });
  }

  refuse(value: string, supported: readonly string[]): void {
    const values = supported.map((one) => JSON.stringify(one)).join(", ");
    const message = `Unsupported value: ${JSON.stringify(value)}: supported values: ${values}`;
    this.#causes.push({ reason: "FieldValueNotSupported", message, field: "resourceVersionMatch" });
  }

  /** @throws StatusError 422 if there is any */
  throwAny(): void {
    if (this.#causes.length > 0) throw invalid({ kind: "ListOptions", group: "meta.k8s.io" }, this.#causes);
  }
}

function invalidVersion(version: string): string {
  const why = `strconv.ParseUint: parsing ${JSON.stringify(version)}: invalid syntax`;
  return `resourceVersion: Invalid value: ${JSON.stringify(version)}: ${why}`;
}
