/** Lets one process at a time use a state file, by a lock file with the id of the process. */
import { randomBytes } from "node:crypto";
import { constants, copyFile, link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { EXIT, UserError } from "../util/errors.ts";
import { isFields } from "../util/fields.ts";

/** A lock that this process holds. */
export interface FileLock {
  /** @throws UserError (exit code 1) if another process has removed or replaced the lock file. */
  assertHeld(): Promise<void>;
  /** Removes the lock file, if it is still of this process. */
  release(): Promise<void>;
}

/** How often a lock that changes meanwhile is tried again. */
const ATTEMPTS = 200;
const RETRY_MS = 10;

/**
 * Locks a file by a second one, `PATH.lock`, or takes over the lock of a process that has ended.
 *
 * @throws UserError (exit code 2) if another process holds it.
 * @throws the error of the system.
 */
export async function lockFile(path: string): Promise<FileLock> {
  const lock = `${path}.lock`;
  const started = await startOf(process.pid);
  const nonce = randomBytes(6).toString("hex");
  const text = `${JSON.stringify({ pid: process.pid, ...(started !== undefined && { started }), nonce })}\n`;
  const temporary = `${lock}.${nonce}`;
  await writeFile(temporary, text, { mode: 0o600, flag: "wx" });
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (await linkIfMissing(temporary, lock)) return toLock(lock, text);
      const existing = await readIfExists(lock);
      if (existing === undefined) continue;
      const holder = parseHolder(existing);
      if (holder && (await isRunning(holder))) {
        throw new UserError(
          `sync is already running as process ${holder.pid} (state file ${path})\n  stop it; pass another --state-file only for another mesh`,
          EXIT.refused,
        );
      }
      if (await takeOver(temporary, lock, existing)) return toLock(lock, text);
      await sleep(RETRY_MS);
    }
    throw new UserError(`cannot lock state file ${path}: other processes lock it at the same time`, EXIT.refused);
  } finally {
    await rm(temporary, { force: true });
  }
}

function toLock(path: string, text: string): FileLock {
  return {
    async assertHeld() {
      if ((await readIfExists(path).catch(() => undefined)) === text) return;
      throw new UserError(`lock file ${path} was removed or replaced by another process`, EXIT.failed);
    },
    async release() {
      if ((await readIfExists(path).catch(() => undefined)) === text) await rm(path, { force: true });
    },
  };
}

/** Links a complete file, so that no process reads a lock that is being written. Returns false if the lock exists. */
async function linkIfMissing(temporary: string, path: string): Promise<boolean> {
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return false;
    if (NO_LINKS.includes(code)) return copyIfMissing(temporary, path);
    throw error;
  }
}

/** The errors of file systems without hard links. */
const NO_LINKS = ["EPERM", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"];

async function copyIfMissing(from: string, to: string): Promise<boolean> {
  try {
    await copyFile(from, to, constants.COPYFILE_EXCL);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/**
 * Replaces a lock whose process has ended. A second lock file, for the time of the replacement, lets one process at a time do
 * that. Returns false if another process was faster.
 */
async function takeOver(temporary: string, path: string, stale: string): Promise<boolean> {
  const guard = `${path}.takeover`;
  if (!(await linkIfMissing(temporary, guard))) {
    const other = await readIfExists(guard);
    const holder = other === undefined ? undefined : parseHolder(other);
    if (other !== undefined && !(holder && (await isRunning(holder)))) await rm(guard, { force: true });
    return false;
  }
  try {
    if ((await readIfExists(path)) !== stale) return false;
    await rename(temporary, path);
    return true;
  } finally {
    await rm(guard, { force: true });
  }
}

async function readIfExists(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

interface Holder {
  pid: number;
  /** The start of the process, as the system states it; absent on systems without `/proc`. */
  started?: string;
}

/** Parses a lock; undefined for the file of an interrupted write or of another program. */
function parseHolder(text: string): Holder | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    if (!isFields(parsed)) return undefined;
    const { pid, started } = parsed;
    if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid < 1) return undefined;
    return { pid, ...(typeof started === "string" && { started }) };
  } catch {
    return undefined;
  }
}

/** Whether the process that wrote the lock still runs; another process with its id, after a restart, does not count. */
async function isRunning({ pid, started }: Holder): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  const now = await startOf(pid);
  if (now === "ended") return false;
  return now === undefined || started === undefined || now === started;
}

/**
 * Returns the boot and the start time of a process on Linux (`proc_pid_stat(5)`, fields 3 and 22), and `ended` for one that
 * only waits for its parent; undefined elsewhere.
 */
async function startOf(pid: number): Promise<string | undefined> {
  try {
    const [stat, boot] = await Promise.all([
      readFile(`/proc/${pid}/stat`, "utf8"),
      readFile("/proc/sys/kernel/random/boot_id", "utf8"),
    ]);
    // The second field is the program's name in parentheses, which may contain spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return "ended";
    const start = fields[19];
    return start === undefined ? undefined : `${boot.trim()} ${start}`;
  } catch {
    return undefined;
  }
}
