/** Stores the state of `sync` in a file. */
import { mkdir, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { EXIT, UserError } from "../util/errors.ts";
import { writePrivateFile } from "../util/private-file.ts";
import { FileError, readBoundedFile, toFileError } from "../util/read-file.ts";
import { describeSystemError } from "../util/system-error.ts";
import { type FileLock, lockFile } from "./file-lock.ts";
import { parseStoredState, type StateStore } from "./state-store.ts";
import { formatState, MAX_STATE_BYTES } from "./state-text.ts";

/**
 * Creates a store in a file of mode 0600, which is replaced as a whole. Its folder is created with mode 0700. One process at
 * a time can claim it. A file that cannot be loaded is renamed to `PATH.invalid` by the next save.
 */
export function createFileStore(path: string): StateStore {
  return new FileStore(resolve(path));
}

class FileStore implements StateStore {
  readonly #path: string;
  #lock: FileLock | undefined;
  #isUnusable = false;
  /** The stored text, if known. */
  #text: string | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  describe(): string {
    return `file ${this.#path}`;
  }

  async claim(): Promise<void> {
    if (this.#lock) return;
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      const existing = await stat(this.#path).catch(ignoreMissing);
      if (existing && !existing.isFile()) throw new FileError("is not a regular file");
      this.#lock = await lockFile(this.#path);
    } catch (error) {
      if (error instanceof UserError) throw error;
      throw new UserError(`cannot use state file ${this.#path}: ${toFileError(error).message}`, EXIT.refused);
    }
    await this.#removeLeftovers();
  }

  async release(): Promise<void> {
    await this.#lock?.release();
    this.#lock = undefined;
  }

  async load() {
    try {
      this.#text = (await readBoundedFile(this.#path, MAX_STATE_BYTES)).toString("utf8");
      return parseStoredState(this.#text, this);
    } catch (error) {
      this.#text = undefined;
      if (error instanceof FileError && error.code === "ENOENT") return undefined;
      this.#isUnusable = true;
      if (!(error instanceof FileError)) throw error;
      throw new UserError(`cannot read state file ${this.#path}: ${error.message}`, EXIT.failed);
    }
  }

  async save(state: Parameters<StateStore["save"]>[0]): Promise<void> {
    if (!this.#lock) throw new Error("the state file is not claimed");
    const text = formatState(state);
    if (text === this.#text) return;
    await this.#lock.assertHeld();
    if (this.#isUnusable) await this.#setAside();
    await writePrivateFile(this.#path, text);
    this.#text = text;
  }

  /** Renames the file, which may be of another program. */
  async #setAside(): Promise<void> {
    try {
      const path = await realpath(this.#path);
      await rename(path, `${path}.invalid`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
        const cause = describeSystemError(error);
        throw new UserError(`cannot rename invalid state file ${this.#path}: ${cause}`, EXIT.failed);
      }
    }
    this.#isUnusable = false;
  }

  /** Removes the new files of a process that was killed before it renamed them. */
  async #removeLeftovers(): Promise<void> {
    const [folder, name] = [dirname(this.#path), basename(this.#path)];
    const isLeftover = (file: string) =>
      file.startsWith(`.${name}.`) && /^[0-9a-f]{12}$/.test(file.slice(name.length + 2));
    const files = await readdir(folder).catch(() => []);
    await Promise.all(files.filter(isLeftover).map((file) => rm(join(folder, file), { force: true }).catch(() => {})));
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}
