/** Reading what a person names as a file, whatever it is, with a bound. */
import { constants, createReadStream, readFileSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { describeSystemError } from "./system-error.ts";

/** Why a file cannot be read, as the second half of a sentence. */
export class FileError extends Error {
  /** As Node says it, where the system said it. */
  readonly code: string | undefined;

  constructor(message: string, code?: string) {
    super(message);
    this.code = code;
  }
}

/** What is known of the errors of the system. */
const REASONS: Record<string, string> = {
  ENOENT: "there is no such file",
  EACCES: "the file may not be read",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of the path is no folder",
  ENXIO: "it is a socket, no file",
  ELOOP: "the link leads in a circle",
};

/** How long a named pipe may have nobody who writes to it, in milliseconds. */
const WRITER_TIMEOUT = 5_000;

/**
 * The bytes of a file, a pipe or a device.
 *
 * @param most how many bytes it may have.
 * @throws FileError
 */
export async function readBoundedFile(path: string, most: number): Promise<Buffer> {
  try {
    const status = statSync(path);
    if (status.isFIFO()) return await readPipe(path, most);
    // A device tells no size.
    if (!status.isFile()) return await readBoundedStream(createReadStream(path), most);
    if (status.size > most) throw tooLarge(most);
    // At once: for hundreds of small files, going through the thread pool takes longer than reading them.
    return readFileSync(path);
  } catch (error) {
    throw toFileError(error);
  }
}

/**
 * The bytes of a stream.
 *
 * @param most how many bytes it may have.
 * @throws FileError where it has more; else what the stream fails with.
 */
export async function readBoundedStream(stream: AsyncIterable<Uint8Array | string>, most: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > most) throw tooLarge(most);
    chunks.push(Buffer.from(chunk as Uint8Array));
  }
  return Buffer.concat(chunks);
}

/** An error of the system in words. */
export function toFileError(error: unknown): FileError {
  if (error instanceof FileError) return error;
  const { code } = error as NodeJS.ErrnoException;
  return new FileError(REASONS[code ?? ""] ?? `the file cannot be read: ${describeSystemError(error)}`, code);
}

/** Opened so that it does not wait: a pipe to which nobody ever writes would keep the program from ending. */
async function readPipe(path: string, most: number): Promise<Buffer> {
  const pipe = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const deadline = Date.now() + WRITER_TIMEOUT;
    const chunks: Buffer[] = [];
    for (let size = 0; size <= most; ) {
      const chunk = Buffer.alloc(65_536);
      const read = await pipe.read(chunk).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "EAGAIN") return undefined;
        throw error;
      });
      if (read?.bytesRead === 0) {
        if (size > 0) return Buffer.concat(chunks);
        if (Date.now() > deadline) throw new FileError("it is a pipe that nobody writes to");
      }
      if (read && read.bytesRead > 0) {
        chunks.push(chunk.subarray(0, read.bytesRead));
        size += read.bytesRead;
      } else await sleep(10);
    }
    throw tooLarge(most);
  } finally {
    await pipe.close();
  }
}

function tooLarge(most: number): FileError {
  return new FileError(`the file has more than ${most / 1_048_576} MiB`);
}
