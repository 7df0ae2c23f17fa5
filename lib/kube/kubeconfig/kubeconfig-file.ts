/** One kubeconfig file: its text, its YAML, its types. */
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { parseDocument } from "yaml";
import { EXIT, UserError } from "../../util/errors.ts";
import { FileError, readBoundedFile } from "../../util/read-file.ts";
import { describeYamlError } from "../../util/yaml.ts";

/** A kubeconfig is wrong, or lacks what was asked of it. One line; never the value of a field that may be secret. */
export class KubeconfigError extends UserError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, EXIT.refused, options);
    this.name = "KubeconfigError";
  }
}

/** What identifies a user, as kubeconfigs say it; paths are absolute. */
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

/** A PEM text, or the file it is in. */
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
  /** Empty where the kubeconfig does not say; v1beta1 takes that as IfAvailable. */
  interactiveMode: string;
}

export interface AuthProvider {
  name: string;
  config: Record<string, string>;
  /** The kubeconfig that says it, and under which user: where a renewed token belongs. */
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
  /** What the kubeconfig hands to exec plugins (extension `client.authentication.k8s.io/exec`). */
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

/** No kubeconfig is larger; a file that is was not meant. */
const MAX_BYTES = 16 * 1_048_576;
const EXEC_EXTENSION = "client.authentication.k8s.io/exec";

/**
 * Reads one kubeconfig, YAML or JSON, as client-go does: of several documents the first counts, unknown fields are
 * passed over, relative paths start from the file's folder, data comes before files. Unlike there a field that stands
 * twice in a mapping is an error, and not the last one's.
 *
 * @returns undefined where there is no such file
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
    throw new KubeconfigError(`kubeconfig ${file}: ${error.message}`);
  }
  // PowerShell's > writes UTF-16, with a byte order mark.
  const encoding = { fffe: "utf-16le", feff: "utf-16be" }[bytes.toString("hex", 0, 2)] ?? "utf-8";
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw new KubeconfigError(`kubeconfig ${file}: not UTF-8 text, so it is none`);
  }
}

function parse(text: string, file: string): KubeconfigFile {
  const document = parseDocument(text, { logLevel: "silent", uniqueKeys: true, merge: true });
  const error = document.errors.find(({ code }) => code !== "MULTIPLE_DOCS");
  if (error?.code === "DUPLICATE_KEY") {
    throw new KubeconfigError(`kubeconfig ${file}: line ${error.linePos?.[0].line} repeats a field`);
  }
  if (error)
    throw new KubeconfigError(
      `kubeconfig ${file}: line ${error.linePos?.[0].line} is not YAML: ${describeYamlError(error.code)}`,
    );
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch {
    throw new KubeconfigError(`kubeconfig ${file}: its aliases cannot be resolved`);
  }
  const config = new Fields(value ?? {}, `kubeconfig ${file}`, dirname(resolve(file)));
  const kind = config.text("kind");
  if (kind !== undefined && kind !== "Config") throw config.error(`a ${kind}, not a kubeconfig`);
  return {
    currentContext: config.text("current-context"),
    contexts: named(config, "contexts", "context", (fields) => ({
      cluster: fields.text("cluster") ?? "",
      user: fields.text("user") ?? "",
      namespace: fields.text("namespace"),
    })),
    clusters: named(config, "clusters", "cluster", (fields) => ({
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
    users: named(config, "users", "user", (fields, user) => {
      const provider = fields.mapping("auth-provider");
      return {
        token: fields.text("token"),
        tokenFile: fields.path("tokenFile"),
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

/** The entries of a list by their names; like client-go it takes no name twice. */
function named<T>(config: Fields, list: string, field: string, read: (fields: Fields, name: string) => T) {
  const entries = new Map<string, T>();
  for (const entry of config.list(list)) {
    const name = entry.text("name") ?? "";
    if (entries.has(name)) throw config.error(`${list} has ${JSON.stringify(name)} twice`);
    entries.set(
      name,
      read(entry.mapping(field, `${field} ${name}`) ?? new Fields({}, entry.place, entry.folder), name),
    );
  }
  return entries;
}

function readExec(exec: Fields | undefined): ExecConfig | undefined {
  if (!exec) return undefined;
  const command = exec.text("command") ?? "";
  return {
    apiVersion: exec.text("apiVersion") ?? "",
    // With a separator in it a command is relative to the kubeconfig; a bare one is looked for on PATH.
    command: command !== basename(command) ? (exec.path("command") ?? "") : command,
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

/** A mapping of a kubeconfig, read with the types that its fields have in Kubernetes; errors say the place. */
class Fields {
  readonly place: string;
  readonly folder: string;
  readonly #fields: Map<string, unknown>;

  constructor(value: unknown, place: string, folder: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new KubeconfigError(`${place}: not a mapping`);
    }
    this.#fields = new Map(Object.entries(value));
    this.place = place;
    this.folder = folder;
  }

  error(message: string): KubeconfigError {
    return new KubeconfigError(`${this.place}: ${message}`);
  }

  keys(): string[] {
    return [...this.#fields.keys()];
  }

  /** The field as YAML has it; undefined also for null. */
  raw(key: string): unknown {
    return this.#fields.get(key) ?? undefined;
  }

  /** Undefined also where it is empty, as for client-go. */
  text(key: string): string | undefined {
    const value = this.raw(key) ?? "";
    if (typeof value !== "string") throw this.error(`${key} is not a text; quotes make it one`);
    return value === "" ? undefined : value;
  }

  flag(key: string): boolean {
    const value = this.raw(key) ?? false;
    if (typeof value !== "boolean") throw this.error(`${key} is neither true nor false`);
    return value;
  }

  strings(key: string): string[] | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
      throw this.error(`${key} is not a list of texts`);
    }
    return value.length > 0 ? value : undefined;
  }

  texts(): Record<string, string> {
    return Object.fromEntries(this.keys().map((key) => [key, this.text(key) ?? ""]));
  }

  mapping(key: string, place = key): Fields | undefined {
    const value = this.raw(key);
    return value === undefined ? undefined : new Fields(value, `${this.place}: ${place}`, this.folder);
  }

  list(key: string): Fields[] {
    const value = this.raw(key) ?? [];
    if (!Array.isArray(value)) throw this.error(`${key} is not a list`);
    return value.map((entry, index) => new Fields(entry, `${this.place}: ${key}[${index}]`, this.folder));
  }

  path(key: string): string | undefined {
    const value = this.text(key);
    return value === undefined || isAbsolute(value) ? value : join(this.folder, value);
  }

  /** Data before files, as for client-go. */
  pem(key: string): PemSource | undefined {
    const data = this.text(`${key}-data`);
    const file = this.path(key);
    if (data === undefined) return file === undefined ? undefined : { file };
    if (!/^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(data)) throw this.error(`${key}-data is not base64`);
    return { pem: Buffer.from(data, "base64").toString() };
  }
}
