/** Reads peers from files, folders and standard input. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { isSamePeer } from "../peer/checks/identity.ts";
import { MAX_FILE_BYTES, parseSecrets } from "../peer/documents.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { recognizeContent } from "../peer/foreign/content.ts";
import { type Call, DEFAULT_CALL, foreignFinding } from "../peer/foreign/foreign.ts";
import type { SourcedPeer } from "../peer/peer.ts";
import { readPeerFile } from "../peer/secret.ts";
import { EXIT, UserError } from "../util/errors.ts";
import { truncateLine } from "../util/line.ts";
import { ParseCache } from "../util/parse-cache.ts";
import { readBoundedFile, readBoundedStream, toFileError } from "../util/read-file.ts";

/** Options of {@link readPeers}. */
export interface ReadPeersOptions {
  /** Standard input, read for the path `-`. */
  stdin?: AsyncIterable<Uint8Array | string>;
  /** The running command, for remedies that pipe into it. */
  call?: Call;
  /** Parsed values, shared with targets. */
  cache?: ParseCache;
}

/**
 * Reads peers from files (JSON or YAML), from the `.json`, `.yaml` and `.yml` files of folders, and from standard input
 * (`-`). Equal peers are merged into one.
 *
 * @returns the peers, unchecked, and findings about the files.
 */
export async function readPeers(
  paths: readonly string[],
  { stdin = process.stdin, call = DEFAULT_CALL, cache = new ParseCache() }: ReadPeersOptions = {},
): Promise<{ peers: SourcedPeer[]; findings: Finding[] }> {
  const findings: Finding[] = [];
  const found: SourcedPeer[] = [];
  for (const { source, path, bytes } of await readFiles(paths, stdin, findings)) {
    const foreign = recognizeContent(bytes);
    if (foreign) {
      findings.push(foreignFinding(foreign, source, path, call));
      continue;
    }
    const text = decodeText(bytes);
    const { secrets, findings: parseFindings } = parseSecrets(text, source, {
      call,
      ...(path !== undefined && { path }),
    });
    const read = secrets.map((secret) => readPeerFile(secret, source, cache));
    // Pushed one by one: a spread call with many findings would overflow the stack.
    for (const one of [parseFindings, ...read.map((file) => file.findings)].flat()) findings.push(one);
    for (const { peers, layouts } of read) {
      for (const peer of peers) found.push({ peer, source, layout: layouts.get(peer.name) });
    }
  }
  const byName = new Map<string, SourcedPeer>();
  for (const candidate of found) {
    const { peer, source } = candidate;
    const other = byName.get(peer.name);
    if (other && !isSamePeer(other.peer, peer)) {
      const values = { name: peer.name, other: other.source, isFile: true } as const;
      findings.push(finding("name-duplicate", { source, key: peer.name }, values));
    } else if (!other || other.peer.facts.id === undefined) {
      // Prefer an equal peer with a cluster id.
      byName.set(peer.name, candidate);
    }
  }
  return { peers: [...byName.values()], findings };
}

/**
 * Reads the file that a flag names, without a byte order mark.
 *
 * @param stdin - standard input, read for the path `-`; undefined if `-` is the name of a file.
 * @throws UserError (exit code 2) if it is unreadable.
 */
export async function readText(path: string, stdin?: AsyncIterable<Uint8Array | string>): Promise<string> {
  const isStdin = path === "-" && stdin !== undefined;
  try {
    const bytes = isStdin
      ? await readBoundedStream(stdin, MAX_FILE_BYTES)
      : await readBoundedFile(path, MAX_FILE_BYTES);
    return decodeText(bytes);
  } catch (error) {
    const source = isStdin ? sourceName(path) : truncateLine(path);
    throw new UserError(`${source}: ${toFileError(error).message}`, EXIT.refused);
  }
}

/** Decodes UTF-8 without a byte order mark. */
function decodeText(bytes: Buffer): string {
  return bytes.toString().replace(/^\uFEFF/, "");
}

/** The content of a file, or of standard input (without a path). */
interface ReadFile {
  source: string;
  path: string | undefined;
  bytes: Buffer;
}

async function readFiles(paths: readonly string[], stdin: AsyncIterable<Uint8Array | string>, findings: Finding[]) {
  const read: ReadFile[] = [];
  for (const path of new Set(paths)) {
    const files = path === "-" ? ["-"] : listFiles(path, findings);
    for (const source of files) {
      // Let pending connections progress.
      await nextTurn();
      const bytes = await (source === "-"
        ? readBoundedStream(stdin, MAX_FILE_BYTES)
        : readBoundedFile(source, MAX_FILE_BYTES)
      ).catch((error: unknown) => {
        findings.push(finding("unreadable", { source: sourceName(source) }, { problem: toFileError(error).message }));
        return undefined;
      });
      if (bytes) read.push({ source: sourceName(source), path: source === "-" ? undefined : source, bytes });
    }
  }
  return read;
}

/** Returns the name of a path in findings. */
export function sourceName(path: string): string {
  return path === "-" ? "standard input" : path;
}

function listFiles(path: string, findings: Finding[]): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const names = readdirSync(path)
      .filter((name) => /\.(json|ya?ml)$/i.test(name))
      .sort();
    if (names.length === 0) {
      const problem = "the directory has no .json, .yaml or .yml files";
      findings.push(finding("unreadable", { source: path }, { problem }));
    }
    return names.map((name) => join(path, name));
  } catch (error) {
    findings.push(finding("unreadable", { source: path }, { problem: toFileError(error).message }));
    return [];
  }
}
