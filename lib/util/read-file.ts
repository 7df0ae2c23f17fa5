/** Reads files, pipes and devices up to a maximum size. */
import { constants, createReadStream, readFileSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { describeSystemError } from "./system-error.ts";

/** Why a file cannot be read. The message does not name the file. */
export class FileError extends Error {
  /** Node's code of a system error. */
  readonly code: string | undefined;

  constructor(message: string, code?: string) {
    super(message);
    this.code = code;
  }
}

/** How long to wait for a process that opens a named pipe for writing. */
const WRITER_TIMEOUT_MS = 5_000;

/**
 * Reads a file, a pipe or a device.
 *
 * @param maxBytes - larger files are an error.
 * @throws FileError
 */
export async function readBoundedFile(path: string, maxBytes: number): Promise<Buffer> {
  try {
    const status = statSync(path);
    if (status.isFIFO()) return await readPipe(path, maxBytes);
    if (status.isSocket()) throw new FileError("is a socket");
    // The size of a device is unknown.
    if (!status.isFile()) return await readBoundedStream(createReadStream(path), maxBytes);
    if (status.size > maxBytes) throw tooLargeError(maxBytes);
    // Synchronous: for hundreds of small files the thread pool costs more than the reads.
    return readFileSync(path);
  } catch (error) {
    throw toFileError(error);
  }
}

/**
 * Reads a stream to its end.
 *
 * @param maxBytes - longer streams are an error.
 * @throws FileError if it is too long.
 * @throws the error of the stream.
 */
export async function readBoundedStream(stream: AsyncIterable<Uint8Array | string>, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > maxBytes) throw tooLargeError(maxBytes);
    chunks.push(Buffer.from(chunk as Uint8Array));
  }
  return Buffer.concat(chunks);
}

/** Converts a system error; a FileError is returned unchanged. */
export function toFileError(error: unknown): FileError {
  if (error instanceof FileError) return error;
  const { code } = error as NodeJS.ErrnoException;
  return new FileError(describeSystemError(error), code);
}

/** Reads a named pipe without blocking, since a pipe that is never opened for writing would block the process. */
async function readPipe(path: string, maxBytes: number): Promise<Buffer> {
  const pipe = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const deadline = Date.now() + WRITER_TIMEOUT_MS;
    const chunks: Buffer[] = [];
    for (let size = 0; size <= maxBytes; ) {
      const chunk = Buffer.alloc(65_536);
      const read = await pipe.read(chunk).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "EAGAIN") return undefined;
        throw error;
      });
      if (read?.bytesRead === 0) {
        if (size > 0) return Buffer.concat(chunks);
        if (Date.now() > deadline) throw new FileError("timed out waiting for a writer of the named pipe");
      }
      if (read && read.bytesRead > 0) {
        chunks.push(chunk.subarray(0, read.bytesRead));
        size += read.bytesRead;
      } else await sleep(10);
    }
    throw tooLargeError(maxBytes);
  } finally {
    await pipe.close();
  }
}

function tooLargeError(maxBytes: number): FileError {
  return new FileError(`file exceeds ${maxBytes / 1_048_576} MiB`);
}
