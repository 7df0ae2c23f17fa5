/** Addresses, endpoints and prefixes, parsed as by Cilium and Go. Pure. */
import { isIPv4, isIPv6 } from "node:net";

/**
 * Whether `text` is an address by Go's `netip.ParseAddr`: no CIDR, no brackets, no leading zeros. Unlike there, a zone
 * (`fe80::1%eth0`) is invalid, since it is meaningless on another machine.
 */
export function isAddress(text: string): boolean {
  // Names are excluded first: node:net takes milliseconds to compile its IPv6 pattern.
  return isIPv4(text) || (text.includes(":") && isIPv6(text) && !text.includes("%"));
}

/** Whether `text` is a host name: labels of letters, digits, `-` and `_`; at most 253 characters; not a number. */
export function isHostname(text: string): boolean {
  return (
    text.length <= 253 &&
    /^(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*\.?$/i.test(text) &&
    !/^[0-9.]+$/.test(text)
  );
}

export interface HostPort {
  /** A host name, or an address without brackets. */
  host: string;
  port: number;
}

/** Parses `host:port`, `ip:port` or `[ip6]:port`; undefined if invalid. */
export function parseHostPort(text: string): HostPort | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]/]+)):(\d{1,5})$/.exec(text);
  if (!match) return undefined;
  const host = match[1] ?? match[2] ?? "";
  const port = Number(match[3]);
  if (port < 1 || port > 65535) return undefined;
  const isValid = match[1] === undefined ? isIPv4(host) || isHostname(host) : isIPv6(host) && isAddress(host);
  return isValid ? { host, port } : undefined;
}

/** Formats `host:port`, with an IPv6 address in brackets. */
export function formatHostPort({ host, port }: HostPort): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Parses an etcd endpoint: an https URL with host and port only. Undefined if invalid. */
export function parseEndpoint(url: string): HostPort | undefined {
  const match = /^https:\/\/([^/?#@\s]+)\/?$/.exec(url);
  return match?.[1] === undefined ? undefined : parseHostPort(match[1]);
}

/** Compares addresses: IPv4, then IPv6, both numerically, then other text. Only equal text compares as equal. */
export function compareAddresses(a: string, b: string): number {
  const [x, y] = [toBits(a), toBits(b)];
  const byNumber = x && y ? x.width - y.width || compare(x.value, y.value) : Number(!x) - Number(!y);
  return byNumber || compare(a, b);
}

function compare<T extends string | bigint>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

interface Bits {
  value: bigint;
  width: 32 | 128;
}

function toBits(address: string): Bits | undefined {
  if (isIPv4(address)) {
    return { value: address.split(".").reduce((sum, part) => (sum << 8n) | BigInt(part), 0n), width: 32 };
  }
  if (!isIPv6(address) || address.includes("%")) return undefined;
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address);
  const tail = dotted?.[2] === undefined ? undefined : toBits(dotted[2])?.value;
  const text =
    tail === undefined ? address : `${dotted?.[1]}${(tail >> 16n).toString(16)}:${(tail & 0xffffn).toString(16)}`;
  const [head = "", rest] = text.split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":"));
  const before = groups(head);
  const after = rest === undefined ? [] : groups(rest);
  const zeros = rest === undefined ? 0 : 8 - before.length - after.length;
  const all = [...before, ...Array<string>(zeros).fill("0"), ...after];
  return { value: all.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n), width: 128 };
}

function fromBits({ value, width }: Bits): string {
  if (width === 32) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join(".");
  const groups = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  // URLs format IPv6 in the canonical short form.
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

interface Prefix extends Bits {
  length: number;
}

function parsePrefix(cidr: string): Prefix | undefined {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(cidr);
  const bits = match?.[1] === undefined ? undefined : toBits(match[1]);
  const length = Number(match?.[2]);
  if (!bits || length > bits.width) return undefined;
  return truncatePrefix({ ...bits, length }, length);
}

function truncatePrefix(prefix: Prefix, length: number): Prefix {
  const host = BigInt(prefix.width - length);
  return { value: (prefix.value >> host) << host, width: prefix.width, length };
}

/** Sorts a prefix before those that it contains. */
function comparePrefixes(a: Prefix, b: Prefix): number {
  return a.width - b.width || compare(a.value, b.value) || a.length - b.length;
}

function contains(outer: Prefix, inner: Prefix): boolean {
  return (
    outer.width === inner.width &&
    outer.length <= inner.length &&
    truncatePrefix(inner, outer.length).value === outer.value
  );
}

/** Whether two prefixes (`10.1.0.0/16`) have an address in common; false if either is invalid. */
export function cidrsOverlap(a: string, b: string): boolean {
  const [x, y] = [parsePrefix(a), parsePrefix(b)];
  return x !== undefined && y !== undefined && (contains(x, y) || contains(y, x));
}

/**
 * Aggregates prefixes into a few that cover all of them, sorted. Prefixes within one /16 (IPv4) or /48 (IPv6) become
 * one of at most 20 or 56 bits, rounded down to a multiple of four bits, so that adding a node rarely changes the
 * result. Invalid prefixes are ignored.
 */
export function coveringPrefixes(cidrs: Iterable<string>): string[] {
  const groups = new Map<string, Prefix>();
  for (const cidr of cidrs) {
    const prefix = parsePrefix(cidr);
    if (!prefix) continue;
    const key = formatPrefix(truncatePrefix(prefix, Math.min(prefix.length, prefix.width === 32 ? 16 : 48)));
    const known = groups.get(key);
    groups.set(key, known ? commonPrefix(known, prefix) : prefix);
  }
  const rounded = [...groups.values()].map((prefix) => {
    const length = Math.min(prefix.length, prefix.width === 32 ? 20 : 56);
    return truncatePrefix(prefix, length - (length % 4));
  });
  const kept = rounded.filter(
    (prefix, i) =>
      !rounded.some((other, j) => i !== j && contains(other, prefix) && (!contains(prefix, other) || j < i)),
  );
  return kept.sort(comparePrefixes).map(formatPrefix);
}

function commonPrefix(a: Prefix, b: Prefix): Prefix {
  let length = Math.min(a.length, b.length);
  while (truncatePrefix(a, length).value !== truncatePrefix(b, length).value) length--;
  return truncatePrefix(a, length);
}

function formatPrefix(prefix: Prefix): string {
  return `${fromBits(prefix)}/${prefix.length}`;
}

/**
 * Finds owners whose prefixes overlap.
 *
 * @returns for each owner (`b`) the first earlier owner that it overlaps (`a`), with the two prefixes in this order.
 */
export function findOverlaps(
  owners: readonly { name: string; cidrs: readonly string[] }[],
): { a: string; b: string; cidrs: [string, string] }[] {
  const prefixes = owners
    .flatMap(({ name, cidrs }, order) =>
      cidrs.map((cidr) => ({ name, order, cidr, prefix: parsePrefix(cidr) as Prefix })),
    )
    .filter(({ prefix }) => prefix !== undefined)
    .sort((a, b) => comparePrefixes(a.prefix, b.prefix));
  const found = new Map<number, [(typeof prefixes)[number], (typeof prefixes)[number]]>();
  // Prefixes are nested or disjoint, so a stack suffices for those that contain the current one.
  const open: typeof prefixes = [];
  for (const entry of prefixes) {
    while (open.length > 0 && !contains((open.at(-1) as typeof entry).prefix, entry.prefix)) open.pop();
    for (const other of open) {
      if (other.order === entry.order) continue;
      const [first, second] = other.order < entry.order ? [other, entry] : [entry, other];
      const known = found.get(second.order);
      if (!known || first.order < known[0].order) found.set(second.order, [first, second]);
    }
    // A prefix inside another one of the same owner adds no overlaps.
    if (!open.some(({ order }) => order === entry.order)) open.push(entry);
  }
  return [...found.values()]
    .sort(([, a], [, b]) => a.order - b.order)
    .map(([a, b]) => ({ a: a.name, b: b.name, cidrs: [a.cidr, b.cidr] }));
}
