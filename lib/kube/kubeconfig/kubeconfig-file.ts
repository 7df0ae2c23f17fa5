/** Reads one kubeconfig file. */
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { parseDocument } from "yaml";
import { EXIT, UserError } from "../../util/errors.ts";
import { FileError, readBoundedFile } from "../../util/read-file.ts";
import { describeYamlError } from "../../util/yaml.ts";

/** A kubeconfig is invalid or lacks an entry. The message is one line, without values of fields that may be secret. */
export class KubeconfigError extends UserError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, EXIT.refused, options);
    this.name = "KubeconfigError";
  }
}

/** A user of the kubeconfig; paths are absolute. */
export interface UserEntry {
  token?: string | undefined;
  tokenFile?: string | undefined;
  username?: string | undefined;
  password?: string | undefined;
  cert?: PemSource | undefined;
  key?: PemSource | undefined;
  exec?: ExecConfig | undefined;
  authProvider?: AuthProvider | undefined;
  impersonate?: Impersonation | undefined;
}

/** PEM text, or the file that contains it. */
export type PemSource = { pem: string } | { file: string };

export interface Impersonation {
  user?: string | undefined;
  groups?: string[] | undefined;
  uid?: string | undefined;
  extra?: Record<string, string[]> | undefined;
}

export interface ExecConfig {
  apiVersion: string;
  command: string;
  args: string[];
  env: { name: string; value: string }[];
  installHint?: string | undefined;
  provideClusterInfo: boolean;
  /** Empty if not set, which v1beta1 treats as IfAvailable. */
  interactiveMode: string;
}

export interface AuthProvider {
  name: string;
  config: Record<string, string>;
  /** The kubeconfig and the user of the entry, to which a renewed token is written. */
  file: string;
  user: string;
}

export interface ClusterEntry {
  server: string;
  ca?: PemSource | undefined;
  insecure: boolean;
  serverName?: string | undefined;
  proxyUrl?: string | undefined;
  disableCompression: boolean;
  /** Passed to exec plugins: the extension `client.authentication.k8s.io/exec`. */
  execExtension?: unknown;
}

export interface ContextEntry {
  cluster: string;
  user: string;
  namespace?: string | undefined;
}

export interface KubeconfigFile {
  currentContext: string | undefined;
  contexts: Map<string, ContextEntry>;
  clusters: Map<string, ClusterEntry>;
  users: Map<string, UserEntry>;
}

const MAX_BYTES = 16 * 1_048_576;
const EXEC_EXTENSION = "client.authentication.k8s.io/exec";

/**
 * Reads a kubeconfig in YAML or JSON as client-go does: further documents and unknown fields are ignored, and
 * relative paths are resolved against the directory of the file. Unlike in client-go, a duplicate field is an error.
 *
 * @returns undefined if the file does not exist.
 * @throws KubeconfigError
 */
export async function readKubeconfigFile(file: string): Promise<KubeconfigFile | undefined> {
  const text = await readText(file);
  return text === undefined ? undefined : parse(text, file);
}

async function readText(file: string): Promise<string | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readBoundedFile(file, MAX_BYTES);
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    if (error.code === "ENOENT") return undefined;
    throw new KubeconfigError(`cannot read kubeconfig ${file}: ${error.message}`);
  }
  // PowerShell's redirection writes UTF-16 with a byte order mark.
  const encoding = { fffe: "utf-16le", feff: "utf-16be" }[bytes.toString("hex", 0, 2)] ?? "utf-8";
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw new KubeconfigError(`kubeconfig ${file}: not UTF-8 text`);
  }
}

function parse(text: string, file: string): KubeconfigFile {
  const document = parseDocument(text, { logLevel: "silent", prettyErrors: false, uniqueKeys: true, merge: true });
  const error = document.errors.find(({ code }) => code !== "MULTIPLE_DOCS");
  if (error) throw new KubeconfigError(`kubeconfig ${file}: invalid YAML at ${describeYamlError(text, error)}`);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch {
    throw new KubeconfigError(`kubeconfig ${file}: invalid YAML aliases`);
  }
  return toKubeconfigFile(value, { label: `kubeconfig ${file}`, folder: dirname(resolve(file)), file });
}

/** Where the content of a kubeconfig comes from. */
export interface KubeconfigOrigin {
  /** The name of the kubeconfig in messages. */
  label: string;
  /** The folder that relative paths are resolved against. */
  folder: string;
  /** The file that a renewed token is written to; empty if there is none. */
  file: string;
}

/**
 * Converts the parsed content of a kubeconfig, by the rules of {@link readKubeconfigFile}. Reads no file. Pure.
 *
 * @throws KubeconfigError
 */
export function toKubeconfigFile(value: unknown, { label, folder, file }: KubeconfigOrigin): KubeconfigFile {
  const config = new Fields(value ?? {}, label, folder);
  const kind = config.text("kind");
  if (kind !== undefined && kind !== "Config") throw config.error(`kind is ${JSON.stringify(kind)}, expected "Config"`);
  return {
    currentContext: config.text("current-context"),
    contexts: readEntries(config, "contexts", "context", (fields) => ({
      cluster: fields.text("cluster") ?? "",
      user: fields.text("user") ?? "",
      namespace: fields.text("namespace"),
    })),
    clusters: readEntries(config, "clusters", "cluster", (fields) => ({
      server: fields.text("server") ?? "",
      ca: fields.pem("certificate-authority"),
      insecure: fields.flag("insecure-skip-tls-verify"),
      serverName: fields.text("tls-server-name"),
      proxyUrl: fields.text("proxy-url"),
      disableCompression: fields.flag("disable-compression"),
      execExtension: fields
        .list("extensions")
        .find((entry) => entry.text("name") === EXEC_EXTENSION)
        ?.raw("extension"),
    })),
    users: readEntries(config, "users", "user", (fields, user) => {
      const provider = fields.mapping("auth-provider");
      return {
        token: fields.text("token"),
        tokenFile: fields.absolutePath("tokenFile"),
        username: fields.text("username"),
        password: fields.text("password"),
        cert: fields.pem("client-certificate"),
        key: fields.pem("client-key"),
        exec: readExec(fields.mapping("exec")),
        authProvider: provider && {
          name: provider.text("name") ?? "",
          config: provider.mapping("config")?.texts() ?? {},
          file,
          user,
        },
        impersonate: readImpersonation(fields),
      };
    }),
  };
}

/** Reads a list of named entries. Duplicate names are an error, as in client-go. */
function readEntries<T>(config: Fields, list: string, field: string, read: (fields: Fields, name: string) => T) {
  const entries = new Map<string, T>();
  for (const entry of config.list(list)) {
    const name = entry.text("name") ?? "";
    if (entries.has(name)) throw config.error(`duplicate name ${JSON.stringify(name)} in ${list}`);
    entries.set(name, read(entry.mapping(field, `${field} ${name}`) ?? new Fields({}, entry.path, entry.folder), name));
  }
  return entries;
}

function readExec(exec: Fields | undefined): ExecConfig | undefined {
  if (!exec) return undefined;
  const command = exec.text("command") ?? "";
  return {
    apiVersion: exec.text("apiVersion") ?? "",
    // A command with a separator is relative to the kubeconfig; a bare name is looked up on PATH.
    command: command !== basename(command) ? (exec.absolutePath("command") ?? "") : command,
    args: exec.strings("args") ?? [],
    env: exec.list("env").map((entry) => ({ name: entry.text("name") ?? "", value: entry.text("value") ?? "" })),
    installHint: exec.text("installHint"),
    provideClusterInfo: exec.flag("provideClusterInfo"),
    interactiveMode: exec.text("interactiveMode") ?? "",
  };
}

function readImpersonation(fields: Fields): Impersonation {
  const extra = fields.mapping("as-user-extra");
  const lists = extra?.keys().map((key): [string, string[]] => [key, extra.strings(key) ?? []]) ?? [];
  return {
    user: fields.text("as"),
    uid: fields.text("as-uid"),
    groups: fields.strings("as-groups"),
    extra: lists.length > 0 ? Object.fromEntries(lists) : undefined,
  };
}

/** A mapping of a kubeconfig with typed fields. Errors name the path of the field. */
class Fields {
  readonly path: string;
  readonly folder: string;
  readonly #fields: Map<string, unknown>;

  constructor(value: unknown, path: string, folder: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new KubeconfigError(`${path}: not a mapping`);
    }
    this.#fields = new Map(Object.entries(value));
    this.path = path;
    this.folder = folder;
  }

  error(message: string): KubeconfigError {
    return new KubeconfigError(`${this.path}: ${message}`);
  }

  keys(): string[] {
    return [...this.#fields.keys()];
  }

  /** The unvalidated value; undefined for null. */
  raw(key: string): unknown {
    return this.#fields.get(key) ?? undefined;
  }

  /** A string; undefined if empty, as in client-go. */
  text(key: string): string | undefined {
    const value = this.raw(key) ?? "";
    if (typeof value !== "string") throw this.error(`${key} is not a string; quote the value`);
    return value === "" ? undefined : value;
  }

  flag(key: string): boolean {
    const value = this.raw(key) ?? false;
    if (typeof value !== "boolean") throw this.error(`${key} must be true or false`);
    return value;
  }

  strings(key: string): string[] | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
      throw this.error(`${key} is not a list of strings`);
    }
    return value.length > 0 ? value : undefined;
  }

  texts(): Record<string, string> {
    return Object.fromEntries(this.keys().map((key) => [key, this.text(key) ?? ""]));
  }

  mapping(key: string, label = key): Fields | undefined {
    const value = this.raw(key);
    return value === undefined ? undefined : new Fields(value, `${this.path}: ${label}`, this.folder);
  }

  list(key: string): Fields[] {
    const value = this.raw(key) ?? [];
    if (!Array.isArray(value)) throw this.error(`${key} is not a list`);
    return value.map((entry, index) => new Fields(entry, `${this.path}: ${key}[${index}]`, this.folder));
  }

  absolutePath(key: string): string | undefined {
    const value = this.text(key);
    return value === undefined || isAbsolute(value) ? value : join(this.folder, value);
  }

  /** The `-data` field precedes the file, as in client-go. */
  pem(key: string): PemSource | undefined {
    const data = this.text(`${key}-data`);
    const file = this.absolutePath(key);
    if (data === undefined) return file === undefined ? undefined : { file };
    if (!/^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(data)) throw this.error(`${key}-data is not base64`);
    return { pem: Buffer.from(data, "base64").toString() };
  }
}
