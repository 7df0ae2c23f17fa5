/** Reading the files that peers come in: files, folders, and standard input. */
import { constants, createReadStream, readFileSync, statSync } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { MAX_FILE_BYTES, parseSecrets } from "../peer/documents.ts";
import { EXIT, UserError } from "../peer/errors.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { checkPeer, type SourcedPeer, samePeer } from "../peer/rules.ts";
import { readPeerFile } from "../peer/secret.ts";

/**
 * Reads peers from files (JSON or YAML), from the `.json`, `.yaml` and `.yml` files of folders, and from standard input
 * (`-`), and checks each by itself. The same peer twice counts once.
 *
 * @param now the time to judge certificates by.
 * @param stdin where `-` reads from.
 */
export async function readPeers(
  paths: readonly string[],
  now: Date,
  stdin: AsyncIterable<Uint8Array | string> = process.stdin,
): Promise<{ peers: SourcedPeer[]; findings: Finding[] }> {
  const findings: Finding[] = [];
  const found: SourcedPeer[] = [];
  for (const { source, text } of await readTexts(paths, stdin, findings)) {
    const { secrets, findings: unparsed } = parseSecrets(text, source);
    findings.push(...unparsed);
    for (const secret of secrets) {
      const read = readPeerFile(secret, source);
      findings.push(...read.findings);
      found.push(...read.peers.map((peer) => ({ peer, source, layout: read.layouts.get(peer.name) })));
    }
  }
  const byName = new Map<string, SourcedPeer>();
  for (const candidate of found) {
    const { peer, source } = candidate;
    const other = byName.get(peer.name);
    if (other && !samePeer(other.peer, peer)) {
      const message = `${peer.name} stands in ${other.source} too, with other content`;
      findings.push(finding("name-twice", { source, key: peer.name }, message, "leave one of the two files out"));
    } else if (!other || other.peer.facts.id === undefined) {
      // Of files that say the same, one that tells its cluster's id is the better.
      byName.set(peer.name, candidate);
    }
  }
  for (const candidate of byName.values()) findings.push(...checkPeer(candidate, now));
  return { peers: [...byName.values()], findings };
}

/**
 * Reads a file that a flag names.
 *
 * @throws UserError (exit code 2) where it cannot be read.
 */
export async function readText(path: string): Promise<string> {
  try {
    return (await readOne(path)).toString();
  } catch (error) {
    throw new UserError(`${path}: ${reason(error)}`, EXIT.refused);
  }
}

async function readTexts(paths: readonly string[], stdin: AsyncIterable<Uint8Array | string>, findings: Finding[]) {
  const texts: { source: string; text: string }[] = [];
  for (const path of new Set(paths)) {
    const files = path === "-" ? ["-"] : await expand(path, findings);
    for (const source of files) {
      const bytes = await (source === "-" ? readStream(stdin) : readOne(source)).catch((error: unknown) => {
        findings.push(finding("unreadable", { source: nameOf(source) }, reason(error)));
        return undefined;
      });
      if (bytes) texts.push({ source: nameOf(source), text: bytes.toString().replace(/^\uFEFF/, "") });
    }
  }
  return texts;
}

function nameOf(path: string): string {
  return path === "-" ? "standard input" : path;
}

async function expand(path: string, findings: Finding[]): Promise<string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path];
    const names = (await readdir(path)).filter((name) => /\.(json|ya?ml)$/i.test(name)).sort();
    if (names.length === 0) {
      findings.push(finding("unreadable", { source: path }, "the folder holds no .json, .yaml or .yml file"));
    }
    return names.map((name) => join(path, name));
  } catch (error) {
    findings.push(finding("unreadable", { source: path }, reason(error)));
    return [];
  }
}

async function readOne(path: string): Promise<Buffer> {
  const status = statSync(path);
  if (status.isFIFO()) return readPipe(path);
  // A device tells no size.
  if (!status.isFile()) return readStream(createReadStream(path));
  if (status.size > MAX_FILE_BYTES) throw new TooLarge();
  // At once: for hundreds of small files, going through the thread pool takes longer than reading them.
  return readFileSync(path);
}

/** How long a named pipe may have nobody who writes to it, in milliseconds. */
const WRITER_TIMEOUT = 5_000;

/** Opened so that it does not wait: a pipe to which nobody ever writes would keep the program from ending. */
async function readPipe(path: string): Promise<Buffer> {
  const pipe = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const deadline = Date.now() + WRITER_TIMEOUT;
    const chunks: Buffer[] = [];
    for (let size = 0; size <= MAX_FILE_BYTES; ) {
      const chunk = Buffer.alloc(65_536);
      const read = await pipe.read(chunk).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "EAGAIN") return undefined;
        throw error;
      });
      if (read?.bytesRead === 0) {
        if (size > 0) return Buffer.concat(chunks);
        if (Date.now() > deadline) throw new NoWriter();
      }
      if (read && read.bytesRead > 0) {
        chunks.push(chunk.subarray(0, read.bytesRead));
        size += read.bytesRead;
      } else await sleep(10);
    }
    throw new TooLarge();
  } finally {
    await pipe.close();
  }
}

async function readStream(stream: AsyncIterable<Uint8Array | string>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > MAX_FILE_BYTES) throw new TooLarge();
    chunks.push(Buffer.from(chunk as Uint8Array));
  }
  return Buffer.concat(chunks);
}

class NoWriter extends Error {}

class TooLarge extends Error {}

function reason(error: unknown): string {
  if (error instanceof NoWriter) return "it is a pipe that nobody writes to";
  if (error instanceof TooLarge) return `the file has more than ${MAX_FILE_BYTES / 1_048_576} MiB`;
  const { code, message } = error as NodeJS.ErrnoException;
  const known: Record<string, string> = {
    ENOENT: "there is no such file",
    EACCES: "the file may not be read",
    EISDIR: "it is a folder",
    ENOTDIR: "a part of the path is no folder",
    ENXIO: "it is a socket, no file",
    ELOOP: "the link leads in a circle",
  };
  return known[code ?? ""] ?? `the file cannot be read: ${code ?? message}`;
}
